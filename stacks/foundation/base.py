"""What regions share before any of them is made: the account, providers, the controllers' role."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components.controller_role import ControllerRole, ControllerRoleArgs
from components.declared import Declared
from environments.spec import SageMakerRegion


class Base:
    """One provider for each region. The primary region is home, or the first where there is no cluster."""

    def __init__(self, found: Declared) -> None:
        self.found = found
        self.name = f"sluice-{found.environment}"
        self.providers = {region: aws.Provider(f"aws-{region}", region=region) for region in found.regions}
        self.options = self.options_of(found.primary)
        invoke = pulumi.InvokeOptions(provider=self.providers[found.primary])
        self.account: pulumi.Output[str] = aws.get_caller_identity_output(opts=invoke).account_id
        self.controller_role = self._controller_role() if found.home else None

    def options_of(self, region: str) -> pulumi.ResourceOptions:
        """Return options with a region's provider."""
        return pulumi.ResourceOptions(provider=self.providers[region])

    def _controller_role(self) -> ControllerRole:
        sagemaker = [n for n, r in self.found.regions.items() if isinstance(r, SageMakerRegion)]
        args = ControllerRoleArgs(list(self.found.clusters), sagemaker, self.account, self.found.owned)
        return ControllerRole(f"{self.name}-controller", args, self.options)
