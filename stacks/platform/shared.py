"""What the regions of an environment share: the account, images, the controllers' role, state in the home region.

Imports `components`. Called by this stack's program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.budget import Budget, BudgetArgs
from components.controller_role import ControllerRole, ControllerRoleArgs
from components.database import Database, DatabaseArgs
from components.declared import Declared
from components.model_registry import ModelRegistry, ModelRegistryArgs
from components.model_store import Images, ImagesArgs, Replication, ReplicationArgs
from components.peering import Peering, PeeringArgs
from environments.infrastructure import TeamSpec
from environments.names import fit
from environments.spec import SageMakerRegion

if TYPE_CHECKING:
    from stacks.platform.region import Region

OUR_IMAGES = ("controller", "mlflow", "triton", "vllm")


class Shared:
    """One provider for each region, and what is made once. The primary region is home, or the first without a home."""

    def __init__(self, found: Declared) -> None:
        self.found = found
        self.name = f"sluice-{found.environment}"
        self.providers = {region: aws.Provider(f"aws-{region}", region=region) for region in found.regions}
        self.primary = found.home or next(iter(found.regions))
        self.options = pulumi.ResourceOptions(provider=self.providers[self.primary])
        invoke = pulumi.InvokeOptions(provider=self.providers[self.primary])
        self.account: pulumi.Output[str] = aws.get_caller_identity_output(opts=invoke).account_id
        others = [region for region in found.regions if region != self.primary]
        keep = found.infrastructure.deletion_protection
        self._images = Images(
            self.name,
            ImagesArgs(
                images=OUR_IMAGES, account=self.account, copies=others, deletion_protection=keep, owned=found.owned
            ),
            self.options,
        )
        self.controller_role_arn = self._controller_role() if found.home else None

    def image_urls(self) -> Mapping[str, pulumi.Output[str]]:
        """Return where to push each of our images."""
        return self._images.urls

    def _controller_role(self) -> pulumi.Output[str]:
        sagemaker = [n for n, r in self.found.regions.items() if isinstance(r, SageMakerRegion)]
        args = ControllerRoleArgs(list(self.found.clusters), sagemaker, self.account, self.found.owned)
        return ControllerRole(f"{self.name}-controller", args, self.options).arn

    def state_in(self, home: Region) -> tuple[ModelRegistry, Database]:
        """Return MLflow and the controllers' store, both in the home region."""
        block, image, cluster = self.found.infrastructure, self.found.infrastructure.images.mlflow, home.cluster
        if image is None or cluster is None:
            raise AssertionError("checked before: a home region has a cluster and an image for MLflow")
        keep, network = block.deletion_protection, home.network
        store = Database(
            fit(f"{self.name}-store", 50),
            DatabaseArgs(
                database="sluice",
                spec=block.database,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                client_group_id=cluster.security_group_id,
                backup_retention_days=block.backup_retention_days,
                deletion_protection=keep,
                owned=self.found.owned,
            ),
            self.options,
        )
        registry = ModelRegistry(
            fit(f"{self.name}-mlflow", 50),
            ModelRegistryArgs(
                image=image,
                replicas=min(block.controllers, 2),
                bucket=home.bucket,
                eks_name=cluster.eks.name,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                client_group_id=cluster.security_group_id,
                database=block.database,
                backup_retention_days=block.backup_retention_days,
                deletion_protection=keep,
                owned=self.found.owned,
            ),
            home.options,
        )
        return registry, store


def regions_joined(found: Declared, regions: Mapping[str, Region]) -> None:
    """Peer the home region with every other one, replicate models to them, and give each team its budget."""
    primary = found.home or next(iter(regions))
    here, others = regions[primary], {name: region for name, region in regions.items() if name != primary}
    name = f"sluice-{found.environment}"
    if others:
        buckets = {region: other.bucket for region, other in others.items()}
        Replication(f"{name}-models", ReplicationArgs(here.bucket, buckets, found.owned), here.aws_options)
    for region, other in others.items():
        if found.home is not None:
            args = PeeringArgs(here.side(), other.side(), other.provider, found.owned)
            Peering(f"{name}-{primary}-{region}", args, here.aws_options)
    for team in found.teams:
        spec = found.loaded.spec.teams.get(team, TeamSpec())
        topic = next(region.topics.arns[team] for region in regions.values() if team in region.topics.arns)
        Budget(f"{name}-{team}", BudgetArgs(spec, topic, found.owned.by(team)), here.aws_options)
