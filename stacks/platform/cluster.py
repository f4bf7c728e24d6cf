"""The platform's part of one cluster: charts and machines, then alerts and dashboards over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi

from components.addon_objects import Certificates, PrometheusAddress
from components.addons import Addons, AddonsArgs
from components.chart_values import ClusterFacts
from components.declared import Declared
from components.monitoring import Monitoring, MonitoringArgs
from components.node_pools import GpuPoolArgs, NodePoolsArgs
from components.pages import PAGES
from components.queries import Figures
from components.rules import Watched
from environments.names import (
    PROMETHEUS_PORT,
    cluster_name,
    namespace,
    private_domain,
    prometheus_host,
)
from stacks.references import Foundation

RESERVED = ("reserved", "capacity_block")


def pick(pair: Sequence[Any]) -> str:
    """Return what a mapping, the first of two, holds under the second."""
    return str(pair[0][pair[1]])


class PlatformCluster:
    """What one cluster runs beside the endpoints."""

    def __init__(self, found: Declared, region: str, foundation: Foundation) -> None:
        self.found, self.region, self._foundation = found, region, foundation
        self.name = cluster_name(found.environment, region)
        self.options = foundation.options(region)
        self.addons = self._addons()
        self._watch()

    def facts(self, *, endpoint: str = "", queue: str = "", rate_store: str = "", account: str = "") -> ClusterFacts:
        """Return what charts are told; what the foundation's stack says is filled in when it is known."""
        found, block = self.found, self.found.infrastructure
        is_home = self.region == found.home
        others = [region for region in found.clusters if region != found.home] if is_home else []
        domains = ([block.domain] if block.domain else []) + ([private_domain(found.environment)] if self._many else [])
        grafana = next(page for page in PAGES if page.name == "grafana")
        return ClusterFacts(
            environment=found.environment,
            region=self.region,
            cluster_name=self.name,
            endpoint=endpoint,
            queue=queue,
            replicas=min(block.controllers, 2),
            rate_store=rate_store,
            domains=domains,
            sign_on=block.single_sign_on if is_home and block.domain else None,
            grafana_host=grafana.host(block.domain) if block.domain else None,
            other_prometheus={r: f"http://{prometheus_host(found.environment, r)}:{PROMETHEUS_PORT}" for r in others},
            registries=found.registries(self.region, account),
        )

    @property
    def _many(self) -> bool:
        return len(self.found.clusters) > 1

    def _addons(self) -> Addons:
        spec = self.found.clusters[self.region]
        of_region = [self._foundation.of(self.region, n) for n in ("endpoint", "queue", "rate_store")]
        known = pulumi.Output.all(*of_region, self._foundation.output("account"))
        args = AddonsArgs(
            facts=known.apply(lambda f: self.facts(endpoint=f[0], queue=f[1], rate_store=f[2], account=f[3])),
            plain=self.facts(),
            nodes=self._nodes(),
            has_gpus=bool(spec.gpu_pools),
            has_efa=any(pool.efa for pool in spec.gpu_pools.values()),
            certificates=self._certificates(),
            prometheus=self._regional(),
            owned=self.found.owned,
        )
        return Addons(self.name, args, self.options)

    def _nodes(self) -> NodePoolsArgs:
        found, there = self.found, self._foundation
        pools = {
            name: GpuPoolArgs(pool, found.pool_zones(self.region, pool), found.pool_owner(self.region, name))
            for name, pool in found.clusters[self.region].gpu_pools.items()
            if pool.capacity not in RESERVED
        }
        subnets = there.of(self.region, "subnet_ids")
        return NodePoolsArgs(
            profile=there.of(self.region, "profile"),
            subnet_ids={zone: pulumi.Output.all(subnets, zone).apply(pick) for zone in found.zones(self.region)},
            security_group_id=there.of(self.region, "security_group_id"),
            disk_key_arn=there.of(self.region, "disk_key_arn"),
            system=found.infrastructure.system_nodes,
            pools=pools,
            owned=found.owned,
        )

    def _certificates(self) -> Certificates | None:
        block = self.found.infrastructure
        if not block.domain or not block.hosted_zone_id:
            return None
        email = block.certificate_email or f"{self.found.owned.owner}@{block.domain}"
        return Certificates(block.hosted_zone_id, email)

    def _regional(self) -> PrometheusAddress | None:
        """Return this Prometheus's address for the home region; at home it has one already."""
        home = self.found.home
        if home is None or self.region == home:
            return None
        return PrometheusAddress(prometheus_host(self.found.environment, self.region), self.found.cidrs[home])

    def _watch(self) -> None:
        found = self.found
        teams = {endpoint.team for endpoint in found.endpoints(self.region).values()} | {found.owned.team}
        args = MonitoringArgs(
            region=self.region,
            watched=[self._watched(endpoint) for endpoint in found.endpoints(self.region)],
            alarms=found.infrastructure.alarms,
            topics={team: self._foundation.topic(self.region, team) for team in teams},
            namespace=self.addons.monitoring_namespace,
            owned=found.owned,
        )
        needs = pulumi.ResourceOptions(depends_on=list(self.addons.releases.values()))
        Monitoring(self.name, args, pulumi.ResourceOptions.merge(self.options, needs))

    def _watched(self, endpoint: str) -> Watched:
        spec, block = self.found.loaded.spec.endpoints[endpoint], self.found.infrastructure
        pool = self.found.clusters[self.region].gpu_pools.get(spec.pool or "")
        figures = Figures(
            environment=self.found.environment,
            namespace=namespace(self.found.environment, spec.team),
            endpoint=endpoint,
            runtime=spec.runtime,
            gpus_per_replica=spec.gpus_per_replica,
        )
        price = block.usd_per_gpu_hour.get(pool.gpu) if pool else None
        return Watched(figures, spec.team, spec.slo, block.alarms, price)
