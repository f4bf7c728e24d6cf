"""What another stack of the same environment says, and providers for what this one makes in the same regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.declared import Declared
from environments.errors import SluiceError


class Foundation:
    """The foundation's outputs, and a provider for each region and cluster. `options` carry both of a region."""

    def __init__(self, found: Declared) -> None:
        self._reference, self._stack = reference(found, "sluice-foundation")
        regions = self._reference.get_output("regions")
        self._regions = regions.apply(lambda there: complete(there, self._stack, tuple(found.regions)))
        self._aws = {region: aws.Provider(f"aws-{region}", region=region) for region in found.regions}
        self._kubernetes = {region: self._provider(region) for region in found.clusters}

    def output(self, name: str) -> pulumi.Output[Any]:
        """Return one output of the foundation's stack; a secret stays one."""
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
        return kubernetes.Provider(
            f"kubernetes-{region}",
            kubeconfig=self.of(region, "kubeconfig"),
            cluster_identifier=self.of(region, "cluster_arn"),
        )


def reference(found: Declared, project: str) -> tuple[pulumi.StackReference, str]:
    """Return another project's stack of the same environment, and its full name."""
    stack = f"{pulumi.get_organization()}/{project}/{found.environment}"
    return pulumi.StackReference(stack), stack


def complete(there: Mapping[str, Any] | None, stack: str, regions: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the regions of a stack when every region of the environment is among them.

    Raises:
        RunError: `INFRA-005` the stack is not there yet, or is older than the environment file.
    """
    missing = sorted(set(regions) - set(there or {}))
    if there and not missing:
        return there
    error = SluiceError(
        "INFRA-005",
        where=stack,
        what=f"{stack.split('/')[1]} has no {', '.join(missing)}",
        why="this stack runs on what that one has made",
        do=f"run `pulumi up` in stacks/{stack.split('/')[1].removeprefix('sluice-')} for the same stack first",
    )
    raise pulumi.RunError(f"\n{error}")
