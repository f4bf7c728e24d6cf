"""State and rights: databases in the home region, everybody's secrets, and the roles of each cluster's own parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.cluster_identities import ClusterIdentities, ClusterIdentitiesArgs
from components.database import Database, DatabaseArgs
from components.pod_role import PodRole, PodRoleArgs
from components.private_zone import PrivateZone
from components.rights import artifacts_policy
from components.runner import Runner, RunnerArgs
from components.team_secrets import GATED_MODELS, SINGLE_SIGN_ON, TeamSecrets, TeamSecretsArgs
from environments.names import MLFLOW_NAME, fit
from stacks.foundation.base import Base
from stacks.foundation.cluster_region import ClusterRegion
from stacks.foundation.region import Region


def home_in(base: Base, regions: Mapping[str, Region], zone: PrivateZone | None) -> dict[str, Any]:
    """Make them; return what the other stacks need of it."""
    home = regions[base.found.primary]
    if home.cluster is None or base.controller_role is None:
        raise AssertionError("checked before: the home region has a cluster")
    databases = {name: _database(base, home.cluster, name) for name in ("mlflow", "sluice")}
    _secrets(base)
    for name, region in regions.items():
        if region.cluster is not None:
            keys = [database.key.arn for database in databases.values()] if name == base.found.primary else []
            _identities(base, region, region.cluster, zone=zone, keys=keys)
    _mlflow(base, home, home.cluster)
    base.controller_role.let_in(home.cluster.eks.eks.name)
    runner = _runner(base, home.cluster) if base.found.infrastructure.runner else None
    return {
        "store_url": databases["sluice"].url,
        "controller_role_arn": base.controller_role.arn,
        "runner": runner.instance_id if runner else "",
    }


def _database(base: Base, cluster: ClusterRegion, name: str) -> Database:
    block = base.found.infrastructure
    args = DatabaseArgs(
        database=name,
        spec=block.database,
        vpc_id=cluster.network.vpc_id,
        subnet_ids=cluster.network.private_subnet_ids,
        client_group_id=cluster.eks.security_group_id,
        backup_retention_days=block.backup_retention_days,
        deletion_protection=block.deletion_protection,
        owned=base.found.owned,
    )
    suffix = "store" if name == "sluice" else name
    return Database(fit(f"{base.name}-{suffix}", 50), args, base.options)


def _secrets(base: Base) -> None:
    found, block = base.found, base.found.infrastructure
    shared = {GATED_MODELS: block.gated_models, SINGLE_SIGN_ON: block.single_sign_on is not None}
    args = TeamSecretsArgs(
        teams=found.teams if block.gateway.api_keys else (),
        shared=[name for name, wanted in shared.items() if wanted],
        replicas=[region for region in found.clusters if region != found.primary],
        deletion_protection=block.deletion_protection,
        owned=found.owned,
    )
    TeamSecrets(f"{base.name}-secrets", args, base.options)


def _identities(
    base: Base,
    region: Region,
    cluster: ClusterRegion,
    *,
    zone: PrivateZone | None,
    keys: list[pulumi.Output[str]],
) -> None:
    block = base.found.infrastructure
    args = ClusterIdentitiesArgs(
        region=region.region,
        cluster_name=region.name,
        account=base.account,
        eks_name=cluster.eks.eks.name,
        hosted_zone_id=block.hosted_zone_id if block.domain else None,
        private_zone_id=zone.zone_id if zone else None,
        topic_arns=[region.topics.arns[team] for team in sorted(region.topics.arns)],
        topic_key_arn=region.topics.key_arn,
        secret_key_arns=keys,
        owned=base.found.owned,
    )
    ClusterIdentities(region.name, args, region.options)


def _mlflow(base: Base, home: Region, cluster: ClusterRegion) -> None:
    grants = pulumi.Output.all(home.bucket.bucket.arn, home.bucket.key.arn)
    rights = grants.apply(lambda arns: artifacts_policy(*arns))
    args = PodRoleArgs(cluster.eks.eks.name, MLFLOW_NAME, MLFLOW_NAME, rights, base.found.owned)
    PodRole(f"{base.name}-{MLFLOW_NAME}", args, base.options)


def _runner(base: Base, cluster: ClusterRegion) -> Runner:
    args = RunnerArgs(
        vpc_id=cluster.network.vpc_id,
        subnet_ids=cluster.network.private_subnet_ids,
        cluster_security_group_id=cluster.eks.security_group_id,
        key_arn=cluster.nodes.disk_key.arn,
        owned=base.found.owned,
    )
    return Runner(f"{base.name}-runner", args, base.options)
