"""What the platform's stack of the same environment says about its regions, and a provider for each of them.

Imports `components`. Called by this stack's program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.declared import Declared
from environments.errors import SluiceError

PROJECT = "sluice-platform"


class Platform:
    """The platform's outputs. `aws_options` and `options` carry a region's providers."""

    def __init__(self, found: Declared) -> None:
        stack = f"{pulumi.get_organization()}/{PROJECT}/{found.environment}"
        self._reference = pulumi.StackReference(stack)
        regions = self._reference.get_output("regions")
        self._regions = regions.apply(lambda outputs: complete(outputs, stack, tuple(found.regions)))
        self._aws = {region: aws.Provider(f"aws-{region}", region=region) for region in found.regions}
        self._kubernetes = {region: self._provider(region) for region in found.clusters}

    def output(self, name: str) -> pulumi.Output[Any]:
        """Return one output of the platform's stack; a secret stays one."""
        found = pulumi.Output.all(self._regions, self._reference.get_output(name))
        return found.apply(lambda pair: pair[1])

    def of(self, region: str, name: str) -> pulumi.Output[Any]:
        """Return one output of one region."""
        return self._regions.apply(lambda regions: regions[region][name])

    def topic(self, region: str, team: str) -> pulumi.Output[str]:
        """Return the topic of a team's alarms."""
        return self._regions.apply(lambda regions: str(regions[region]["topics"][team]))

    def aws_options(self, region: str) -> pulumi.ResourceOptions:
        """Return options with a region's AWS provider."""
        return pulumi.ResourceOptions(provider=self._aws[region])

    def options(self, region: str) -> pulumi.ResourceOptions:
        """Return options with a region's AWS provider and its cluster's."""
        return pulumi.ResourceOptions(providers=[self._aws[region], self._kubernetes[region]])

    def _provider(self, region: str) -> kubernetes.Provider:
        return kubernetes.Provider(f"kubernetes-{region}", kubeconfig=self.of(region, "kubeconfig"))


def complete(there: Mapping[str, Any] | None, stack: str, regions: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the regions of the platform's stack when every region of the environment is among them.

    Raises:
        RunError: `INFRA-005` the platform's stack is not there yet, or is older than the environment file.
    """
    missing = sorted(set(regions) - set(there or {}))
    if there and not missing:
        return there
    error = SluiceError(
        "INFRA-005",
        where=stack,
        what=f"the platform has no {', '.join(missing)}",
        why="the serving stack runs on what the platform's stack has made",
        do="run `pulumi up` in stacks/platform for the same stack first",
    )
    raise pulumi.RunError(f"\n{error}")
