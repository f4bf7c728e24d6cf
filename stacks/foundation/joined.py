"""What needs several regions at once: ways between networks, copies of models, names, and each team's budget."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.anomalies import Anomalies, AnomalyArgs
from components.budget import Budget, BudgetArgs
from components.model_store import Replication, ReplicationArgs
from components.peering import Peering, PeeringArgs
from components.private_zone import PrivateZone, PrivateZoneArgs
from components.tags import PLATFORM_TEAM
from environments.infrastructure import TeamSpec
from stacks.foundation.base import Base
from stacks.foundation.region import Region


def joined(base: Base, regions: Mapping[str, Region]) -> PrivateZone | None:
    """Join the regions; return the zone of private names where there is more than one cluster."""
    found, here = base.found, regions[base.found.primary]
    others = {name: region for name, region in regions.items() if name != found.primary}
    if others:
        buckets = {region: other.bucket for region, other in others.items()}
        Replication(f"{base.name}-models", ReplicationArgs(here.bucket, buckets, found.owned), here.options)
    clusters = {name: region for name, region in others.items() if region.cluster is not None}
    for region, other in clusters.items():
        args = PeeringArgs(here.side(), other.side(), base.providers[region], found.owned)
        Peering(f"{base.name}-{found.primary}-{region}", args, here.options)
    for team in sorted({*found.teams, PLATFORM_TEAM}):
        _budget(base, team, regions)
    _anomalies(base, here)
    return _zone(base, regions) if clusters else None


def _budget(base: Base, team: str, regions: Mapping[str, Region]) -> None:
    found, block = base.found, base.found.infrastructure
    spec = found.loaded.spec.teams.get(team, TeamSpec())
    region = next(region for region in regions.values() if team in region.topics.arns)
    by_tag = block.cost_anomalies == "tags"
    args = BudgetArgs(spec, region.topics.arns[team], found.owned.by(team), anomalies_by_tag=by_tag)
    needs = pulumi.ResourceOptions(depends_on=[region.topics.policies[team]])
    Budget(f"{base.name}-{team}", args, pulumi.ResourceOptions.merge(base.options, needs))


def _anomalies(base: Base, here: Region) -> None:
    if base.found.infrastructure.cost_anomalies != "services":
        return
    spec = base.found.loaded.spec.teams.get(PLATFORM_TEAM, TeamSpec())
    args = AnomalyArgs(here.topics.arns[PLATFORM_TEAM], spec.anomaly_usd, base.found.owned)
    needs = pulumi.ResourceOptions(depends_on=[here.topics.policies[PLATFORM_TEAM]])
    Anomalies(f"{base.name}-services", args, pulumi.ResourceOptions.merge(base.options, needs))


def _zone(base: Base, regions: Mapping[str, Region]) -> PrivateZone:
    networks = {name: r.cluster.network.vpc_id for name, r in regions.items() if r.cluster is not None}
    return PrivateZone(base.name, PrivateZoneArgs(networks, base.found.owned), base.options)
