"""One region of the platform: network, models, topics; and where there is a cluster, its pools, add-ons and alerts.

Imports `components`. Called by this stack's program.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.addons import Addons, AddonsArgs, Certificates
from components.alert_topics import AlertTopics, AlertTopicsArgs
from components.cluster import Cluster, ClusterArgs
from components.declared import Declared
from components.gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs
from components.model_store import ModelBucket, ModelBucketArgs
from components.monitoring import Monitoring, MonitoringArgs
from components.network import Network, NetworkArgs
from components.peering import Side
from components.queries import Figures
from components.rules import Watched
from components.tags import PLATFORM_TEAM
from environments.infrastructure import TeamSpec
from environments.names import cluster_name, namespace
from environments.spec import KubernetesRegion
from stacks.platform.shared import Shared


class Region:
    """What one region has. `options` carry its providers: AWS alone, or AWS and its cluster's."""

    def __init__(self, found: Declared, region: str, shared: Shared) -> None:
        self.found, self.region, self._shared = found, region, shared
        self.name = cluster_name(found.environment, region)
        self.provider = shared.providers[region]
        self.aws_options = self.options = pulumi.ResourceOptions(provider=self.provider)
        self.network = self._network()
        keep = found.infrastructure.deletion_protection
        self.bucket = ModelBucket(
            f"{self.name}-models", ModelBucketArgs(region, shared.account, keep, found.owned), self.aws_options
        )
        self.topics = self._topics()
        self.cluster: Cluster | None = None
        spec = found.regions[region]
        if isinstance(spec, KubernetesRegion):
            self.cluster = self._cluster()
            self.options = self._with_cluster(self.cluster)
            self._pools(self.cluster, spec)
            self._watch(self._addons(self.cluster, spec))

    def outputs(self) -> dict[str, Any]:
        """Return what `stacks/serving` needs of this region."""
        found: dict[str, Any] = {
            "bucket_arn": self.bucket.bucket.arn,
            "bucket": self.bucket.name,
            "key_arn": self.bucket.key.arn,
            "topics": self.topics.arns,
        }
        if self.cluster is not None:
            found |= {"kubeconfig": self.cluster.kubeconfig, "eks_name": self.cluster.eks.name}
        return found

    def side(self) -> Side:
        """Return this region as one end of a peering."""
        group = self.cluster.security_group_id if self.cluster else None
        tables = self.network.private_route_table_ids
        return Side(self.region, self.network.vpc_id, self.found.cidrs[self.region], tables, group)

    def _network(self) -> Network:
        block = self.found.infrastructure
        args = NetworkArgs(
            region=self.region,
            cidr=self.found.cidrs[self.region],
            zones=self.found.zones(self.region),
            nat_per_zone=block.nat_gateways == "per_zone",
            log_retention_days=block.log_retention_days,
            owned=self.found.owned,
        )
        return Network(self.name, args, self.aws_options)

    def _topics(self) -> AlertTopics:
        teams = {e.team for e in self.found.endpoints(self.region).values()} | {PLATFORM_TEAM}
        specs = {team: self.found.loaded.spec.teams.get(team, TeamSpec()) for team in teams}
        args = AlertTopicsArgs(specs, self._shared.account, self.found.owned)
        return AlertTopics(f"{self.name}-alerts", args, self.aws_options)

    def _cluster(self) -> Cluster:
        block = self.found.infrastructure
        args = ClusterArgs(
            region=self.region,
            version=block.kubernetes_version,
            subnet_ids=self.network.private_subnet_ids,
            admins=block.kubernetes_admins,
            controller_role_arn=self._shared.controller_role_arn,
            nodes=block.system_nodes,
            log_retention_days=block.log_retention_days,
            deletion_protection=block.deletion_protection,
            owned=self.found.owned,
        )
        return Cluster(self.name, args, self.aws_options)

    def _with_cluster(self, cluster: Cluster) -> pulumi.ResourceOptions:
        provider = kubernetes.Provider(
            f"kubernetes-{self.region}",
            kubeconfig=cluster.kubeconfig,
            cluster_identifier=cluster.arn,
            opts=pulumi.ResourceOptions(depends_on=[cluster.system_nodes]),
        )
        return pulumi.ResourceOptions(providers=[self.provider, provider])

    def _pools(self, cluster: Cluster, spec: KubernetesRegion) -> None:
        for pool, gpus in spec.gpu_pools.items():
            args = GpuNodeGroupArgs(
                pool=pool,
                spec=gpus,
                cluster_name=cluster.eks.name,
                node_role_arn=cluster.node_role.arn,
                subnet_ids=self.network.private_subnet_ids,
                key_arn=cluster.key.arn,
                owned=self.found.owned,
            )
            GpuNodeGroup(f"{self.name}-{pool}", args, self.aws_options)

    def _addons(self, cluster: Cluster, spec: KubernetesRegion) -> Addons:
        block, owner = self.found.infrastructure, self.found.owned.owner
        certificates = None
        if block.domain and block.hosted_zone_id:
            email = block.certificate_email or f"{owner}@{block.domain}"
            certificates = Certificates(block.hosted_zone_id, email)
        args = AddonsArgs(
            region=self.region,
            account=self._shared.account,
            cluster_name=cluster.cluster_name,
            eks_name=cluster.eks.name,
            has_gpus=bool(spec.gpu_pools),
            replicas=min(block.controllers, 2),
            certificates=certificates,
            alert_topic_arns=[self.topics.arns[team] for team in sorted(self.topics.arns)],
            owned=self.found.owned,
        )
        return Addons(self.name, args, self.options)

    def _watch(self, addons: Addons) -> None:
        args = MonitoringArgs(
            region=self.region,
            watched=[self._watched(endpoint) for endpoint in self.found.endpoints(self.region)],
            alarms=self.found.infrastructure.alarms,
            topics=self.topics.arns,
            namespace=addons.monitoring_namespace,
            owned=self.found.owned,
        )
        needs = pulumi.ResourceOptions(depends_on=list(addons.releases.values()))
        Monitoring(self.name, args, pulumi.ResourceOptions.merge(self.options, needs))

    def _watched(self, endpoint: str) -> Watched:
        spec, block = self.found.loaded.spec.endpoints[endpoint], self.found.infrastructure
        pool = self.found.regions[self.region].gpu_pools.get(spec.pool or "")
        figures = Figures(
            environment=self.found.environment,
            namespace=namespace(self.found.environment, spec.team),
            endpoint=endpoint,
            runtime=spec.runtime,
            gpus_per_replica=spec.gpus_per_replica,
        )
        price = block.usd_per_gpu_hour.get(pool.gpu) if pool else None
        return Watched(figures, spec.team, spec.slo, block.alarms, price)
