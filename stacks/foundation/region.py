"""One region of the foundation: models and topics; where there is a cluster also its network, nodes and roles."""

from __future__ import annotations

from typing import Any

from components.alert_topics import AlertTopics, AlertTopicsArgs
from components.declared import Declared
from components.model_store import ModelBucket, ModelBucketArgs
from components.peering import Side
from components.tags import PLATFORM_TEAM
from environments.infrastructure import TeamSpec
from environments.names import cluster_name
from stacks.foundation.base import Base
from stacks.foundation.cluster_region import ClusterRegion


class Region:
    """What one region has. `cluster` is None where SageMaker runs the slots: it needs no network of ours."""

    def __init__(self, base: Base, region: str) -> None:
        self._base, self.found, self.region = base, base.found, region
        self.name = cluster_name(self.found.environment, region)
        self.options = base.options_of(region)
        keep = self.found.infrastructure.deletion_protection
        self.bucket = ModelBucket(
            f"{self.name}-models", ModelBucketArgs(region, base.account, keep, self.found.owned), self.options
        )
        self.topics = self._topics()
        self.cluster = ClusterRegion(base, region) if region in self.found.clusters else None

    def outputs(self) -> dict[str, Any]:
        """Return what the other stacks need of this region."""
        found: dict[str, Any] = {
            "bucket_arn": self.bucket.bucket.arn,
            "bucket": self.bucket.name,
            "key_arn": self.bucket.key.arn,
            "topics": self.topics.arns,
        }
        return found | (self.cluster.outputs() if self.cluster else {})

    def side(self) -> Side:
        """Return this region's network as one end of a peering; it must have one."""
        if self.cluster is None:
            raise AssertionError("checked before: only regions with a cluster are peered")
        network = self.cluster.network
        group = self.cluster.eks.security_group_id
        cidr = self.found.cidrs[self.region]
        return Side(self.region, network.vpc_id, cidr, network.private_route_table_ids, group)

    def _topics(self) -> AlertTopics:
        args = AlertTopicsArgs(_teams(self.found, self.region), self._base.account, self.found.owned)
        return AlertTopics(f"{self.name}-alerts", args, self.options)


def _teams(found: Declared, region: str) -> dict[str, TeamSpec]:
    names = {endpoint.team for endpoint in found.endpoints(region).values()} | {PLATFORM_TEAM}
    return {team: found.loaded.spec.teams.get(team, TeamSpec()) for team in names}
