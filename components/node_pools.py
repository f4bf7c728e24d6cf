"""Karpenter's pools: for the cluster's own parts, and for each GPU pool that is not reserved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.children import children_of, waiting
from components.gpu_node_group import disk_gib, pool_labels
from components.objects import custom, meta
from components.tags import Owned
from environments.infrastructure import SystemNodesSpec
from environments.names import GPU_RESOURCE, GPU_TAINT, LABEL_PREFIX
from environments.spec import GpuPool

AWS_API, API = "karpenter.k8s.aws/v1", "karpenter.sh/v1"
SYSTEM = "system"
# Machines of a month ago lack a month of patches; those with GPUs are replaced when the image is newer instead.
SYSTEM_EXPIRES = "720h"
SYSTEM_CPUS = 8
ZONE_ID = "topology.k8s.aws/zone-id"


@dataclass(frozen=True)
class GpuPoolArgs:
    """A pool as declared, its zones, and who pays for it."""

    spec: GpuPool
    zones: Sequence[str]
    owned: Owned


@dataclass(frozen=True)
class NodePoolsArgs:
    """What machines are made of, and the pools by name; reserved ones are node groups and not among them."""

    profile: pulumi.Input[str]
    subnet_ids: Mapping[str, pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    disk_key_arn: pulumi.Input[str]
    system: SystemNodesSpec
    pools: Mapping[str, GpuPoolArgs]
    owned: Owned


@dataclass(frozen=True)
class Share:
    """A part of a pool that is bought one way; `gpus` is its limit, and the heavier share is filled first."""

    suffix: str
    capacity_types: tuple[str, ...]
    gpus: int
    weight: int


def shares(spec: GpuPool) -> tuple[Share, ...]:
    """Return how a pool is bought: a floor on demand that no reclaim takes, then spot with a way back to on demand."""
    per_node, floor = spec.gpus_per_node, spec.on_demand_floor
    if spec.capacity != "spot":
        return (Share("on-demand", ("on-demand",), spec.nodes.max * per_node, 50),)
    rest = spec.nodes.max - floor
    found = (Share("floor", ("on-demand",), floor * per_node, 100),) if floor else ()
    return found + ((Share("spot", ("spot", "on-demand"), rest * per_node, 50),) if rest else ())


class NodePools(pulumi.ComponentResource):
    """NodePools and the EC2NodeClasses behind them.

    Costs what pods ask for, up to `nodes.max`; spot is some 60 % cheaper. Protects by: several types and zones, so that
    one that is sold out stops nothing; a taint that keeps other pods off GPUs; images that are replaced one node at a
    time when AWS has newer ones; and no machine that runs a slot, warm or serving, is ever taken to save money.
    """

    def __init__(self, name: str, args: NodePoolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:NodePools", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        self.system = self._system()
        for pool, gpus in args.pools.items():
            self._gpus(pool, gpus)
        self.register_outputs({"pools": [SYSTEM, *args.pools]})

    def _system(self) -> pulumi.Resource:
        args = self._args
        node_class = self._class(SYSTEM, args.system.disk_gib, args.owned)
        cpus = SYSTEM_CPUS * max(1, args.system.max - args.system.min)
        spec = {
            "template": {"spec": template(SYSTEM, system_requirements(), expires=SYSTEM_EXPIRES)},
            "disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "10m"},
            "limits": {"cpu": str(cpus)},
            "weight": 10,
        }
        return self._pool(SYSTEM, spec, args.owned, node_class)

    def _gpus(self, pool: str, args: GpuPoolArgs) -> None:
        node_class = self._class(pool, disk_gib(args.spec), args.owned)
        for share in shares(args.spec):
            self._pool(f"{pool}-{share.suffix}", gpu_pool_spec(pool, args, share), args.owned, node_class)

    def _class(self, pool: str, disk: int, owned: Owned) -> pulumi.Resource:
        args = self._args
        spec = {
            "amiSelectorTerms": [{"alias": "al2023@latest"}],
            "instanceProfile": args.profile,
            "subnetSelectorTerms": [{"id": subnet} for subnet in args.subnet_ids.values()],
            "securityGroupSelectorTerms": [{"id": args.security_group_id}],
            "instanceStorePolicy": "RAID0",  # weights are unpacked on the machine's own NVMe where it has one
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": _disk(disk, args.disk_key_arn)}],
            "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
            "detailedMonitoring": True,
            "tags": owned.tags(f"{self._name}-{pool}", {f"{LABEL_PREFIX}/pool": pool}),
        }
        metadata = meta(pool, owned)
        return custom(
            f"{self._name}-{pool}-class", AWS_API, "EC2NodeClass", metadata=metadata, spec=spec, opts=self._own
        )

    def _pool(self, name: str, spec: Mapping[str, Any], owned: Owned, needs: pulumi.Resource) -> pulumi.Resource:
        name_of, after = f"{self._name}-{name}", waiting(self._own, needs)
        return custom(name_of, API, "NodePool", metadata=meta(name, owned), spec=spec, opts=after)


def gpu_pool_spec(pool: str, args: GpuPoolArgs, share: Share) -> dict[str, Any]:
    """Return a NodePool's specification for one share of a GPU pool."""
    labels = pool_labels(pool, args.spec) | {f"{LABEL_PREFIX}/capacity": share.suffix}
    inner = template(pool, gpu_requirements(args.spec, args.zones, share.capacity_types), expires="Never")
    return {
        "template": {
            "metadata": {"labels": labels},
            "spec": {**inner, "taints": [{"key": GPU_TAINT, "value": "present", "effect": "NoSchedule"}]},
        },
        "disruption": {
            # Only what holds no pod: a warm slot is a rollback that takes a second.
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": "15m",
            "budgets": [{"nodes": "100%", "reasons": ["Empty"]}, {"nodes": "1", "reasons": ["Drifted"]}],
        },
        "limits": {GPU_RESOURCE: str(share.gpus)},
        "weight": share.weight,
    }


def template(node_class: str, requirements: Sequence[Mapping[str, Any]], *, expires: str) -> dict[str, Any]:
    """Return the part of a NodePool that describes its machines."""
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class}
    return {"nodeClassRef": reference, "requirements": list(requirements), "expireAfter": expires}


def system_requirements() -> list[dict[str, Any]]:
    """Return which machines may run the cluster's own parts."""
    return [
        _one_of("kubernetes.io/arch", ["amd64"]),
        _one_of("karpenter.sh/capacity-type", ["on-demand"]),
        _one_of("karpenter.k8s.aws/instance-category", ["m", "r"]),
        _one_of("karpenter.k8s.aws/instance-cpu", ["2", "4", "8"]),
        {"key": "karpenter.k8s.aws/instance-generation", "operator": "Gt", "values": ["5"]},
    ]


def gpu_requirements(spec: GpuPool, zones: Sequence[str], capacity_types: Sequence[str]) -> list[dict[str, Any]]:
    """Return which machines may run a pool's slots: any of its types in any of its zones."""
    return [
        _one_of("node.kubernetes.io/instance-type", [spec.instance, *spec.instances]),
        _one_of("karpenter.sh/capacity-type", capacity_types),
        _one_of(ZONE_ID, zones),
    ]


def _one_of(key: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _disk(size: int, key_arn: pulumi.Input[str]) -> dict[str, Any]:
    gp3 = {"volumeSize": f"{size}Gi", "volumeType": "gp3", "throughput": 250}
    return {**gp3, "encrypted": True, "kmsKeyID": key_arn, "deleteOnTermination": True}
