"""A region's network and cluster: control plane, machines, Karpenter's side in AWS, and where proxies count."""

from __future__ import annotations

from typing import Any

import pulumi

from components.cluster import Cluster, ClusterArgs
from components.cluster_addons import AFTER_NODES, BEFORE_NODES, ClusterAddons, ClusterAddonsArgs, PodLogs
from components.gpu_node_group import GpuNodeGroup, GpuNodeGroupArgs
from components.karpenter import Karpenter, KarpenterArgs
from components.network import Network, NetworkArgs
from components.nodes import Nodes, NodesArgs
from components.rate_store import RateStore, RateStoreArgs
from environments.names import cluster_name, fit
from stacks.foundation.base import Base

RESERVED = ("reserved", "capacity_block")


class ClusterRegion:
    """A network with a cluster in it, in the order that EKS wants: control plane, network add-on, nodes, the rest."""

    def __init__(self, base: Base, region: str) -> None:
        self._base, self.found, self.region = base, base.found, region
        self.name = cluster_name(self.found.environment, region)
        self.options = base.options_of(region)
        self.network = self._network()
        self.eks = self._control_plane()
        before = self._addons(f"{self.name}-first", tuple(BEFORE_NODES), [self.eks])
        self.nodes = self._nodes(before)
        after = self._addons(f"{self.name}-addons", AFTER_NODES, [self.nodes])
        self.karpenter = self._karpenter()
        for pool, spec in self.found.clusters[region].gpu_pools.items():
            if spec.capacity in RESERVED:
                self._reserved(pool, [before, after])
        self.limits = self._limits() if self.found.infrastructure.gateway.shared_limits else None

    def outputs(self) -> dict[str, Any]:
        """Return what the other stacks need of this cluster."""
        return {
            "kubeconfig": self.eks.kubeconfig,
            "eks_name": self.eks.eks.name,
            "cluster_arn": self.eks.arn,
            "endpoint": self.eks.eks.endpoint,
            "security_group_id": self.eks.security_group_id,
            "subnet_ids": self.network.private_subnets,
            "disk_key_arn": self.nodes.disk_key.arn,
            "queue": self.karpenter.queue_name,
            "profile": self.karpenter.profile_name,
            "rate_store": self.limits.address if self.limits else "",
        }

    def _network(self) -> Network:
        block = self.found.infrastructure
        args = NetworkArgs(
            region=self.region,
            cidr=self.found.cidrs[self.region],
            zones=self.found.zones(self.region),
            nat_per_zone=block.nat_gateways == "per_zone",
            private_endpoints=block.private_endpoints,
            account=self._base.account,
            log_retention_days=block.log_retention_days,
            deletion_protection=block.deletion_protection,
            owned=self.found.owned,
        )
        return Network(self.name, args, self.options)

    def _control_plane(self) -> Cluster:
        block, role = self.found.infrastructure, self._base.controller_role
        args = ClusterArgs(
            region=self.region,
            version=block.kubernetes_version,
            subnet_ids=self.network.private_subnet_ids,
            admins=block.kubernetes_admins,
            controller_role_arn=role.arn if role else None,
            api_cidrs=block.api_cidrs,
            api_public_cidrs=block.api_public_cidrs,
            log_retention_days=block.log_retention_days,
            deletion_protection=block.deletion_protection,
            owned=self.found.owned,
        )
        return Cluster(self.name, args, self.options)

    def _addons(self, name: str, wanted: tuple[str, ...], needs: list[pulumi.Resource]) -> ClusterAddons:
        version = self.found.infrastructure.kubernetes_version
        logs = PodLogs(self.region, self._base.account, self.name)
        args = ClusterAddonsArgs(self.eks.eks.name, version, wanted, logs, self.found.owned)
        after = pulumi.ResourceOptions(depends_on=needs)
        return ClusterAddons(name, args, pulumi.ResourceOptions.merge(self.options, after))

    def _nodes(self, before: ClusterAddons) -> Nodes:
        block = self.found.infrastructure
        args = NodesArgs(
            region=self.region,
            account=self._base.account,
            cluster_name=self.eks.eks.name,
            version=block.kubernetes_version,
            subnet_ids=self.network.private_subnet_ids,
            spec=block.system_nodes,
            deletion_protection=block.deletion_protection,
            owned=self.found.owned,
            cache_prefixes=self.found.cache_prefixes,
        )
        after = pulumi.ResourceOptions(depends_on=[before])
        return Nodes(self.name, args, pulumi.ResourceOptions.merge(self.options, after))

    def _karpenter(self) -> Karpenter:
        args = KarpenterArgs(
            region=self.region,
            account=self._base.account,
            cluster_name=self.name,
            eks_name=self.eks.eks.name,
            node_role=self.nodes.role,
            owned=self.found.owned,
        )
        return Karpenter(f"{self.name}-karpenter", args, self.options)

    def _reserved(self, pool: str, needs: list[pulumi.Resource]) -> None:
        spec = self.found.clusters[self.region].gpu_pools[pool]
        args = GpuNodeGroupArgs(
            pool=pool,
            spec=spec,
            cluster_name=self.eks.eks.name,
            version=self.found.infrastructure.kubernetes_version,
            node_role_arn=self.nodes.role.arn,
            subnet_ids=pulumi.Output.all(*[self.network.private_subnets[zone] for zone in spec.zones]),
            security_group_id=self.eks.security_group_id,
            key_arn=self.nodes.disk_key.arn,
            owned=self.found.pool_owner(self.region, pool),
        )
        after = pulumi.ResourceOptions(depends_on=[*needs, *self.nodes.rights])
        GpuNodeGroup(f"{self.name}-{pool}", args, pulumi.ResourceOptions.merge(self.options, after))

    def _limits(self) -> RateStore:
        args = RateStoreArgs(
            vpc_id=self.network.vpc_id,
            subnet_ids=self.network.private_subnet_ids,
            client_group_id=self.eks.security_group_id,
            has_standby=self.found.infrastructure.database.multi_az,
            owned=self.found.owned,
        )
        return RateStore(fit(self.name, 40), args, self.options)
