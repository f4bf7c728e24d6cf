"""One GPU pool of a region as EKS node groups: the on-demand floor and the spot share apart.

Imports `environments`. `stacks/platform` makes one for each pool of each cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.cluster import autoscaled, launched_from, node_template
from components.tags import Owned
from environments.names import GPU_TAINT, LABEL_PREFIX, POOL_LABEL
from environments.spec import GpuPool

# Model weights are unpacked on the node's disk: twice the memory of its GPUs, and room for images.
DISK_GIB_BASE = 150


@dataclass(frozen=True)
class GpuNodeGroupArgs:
    """A pool as the environment declares it, and the cluster that it joins."""

    pool: str
    spec: GpuPool
    cluster_name: pulumi.Input[str]
    node_role_arn: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    key_arn: pulumi.Input[str]
    owned: Owned


@dataclass(frozen=True)
class Share:
    """A part of a pool that is bought one way; sizes in nodes."""

    suffix: str
    capacity_type: str
    min: int
    max: int


def shares(spec: GpuPool) -> tuple[Share, ...]:
    """Return how a pool is bought: as one group, or as a fixed on-demand floor and spot for the rest."""
    low, high, floor = spec.nodes.min, spec.nodes.max, spec.on_demand_floor
    if spec.capacity != "spot":
        return (Share(spec.capacity.replace("_", "-"), "ON_DEMAND", low, high),)
    spot = Share("spot", "SPOT", max(0, low - floor), high - floor)
    return ((Share("floor", "ON_DEMAND", floor, floor),) if floor else ()) + ((spot,) if spot.max else ())


class GpuNodeGroup(pulumi.ComponentResource):
    """The machines of one GPU pool.

    Costs the instance's price for each node between the bounds of the spec; spot is some 60 % cheaper. Protects by:
    a taint that keeps other pods off, an on-demand floor that no reclaim takes, instance metadata by token only, and
    disks encrypted with the cluster's key.
    """

    def __init__(self, name: str, args: GpuNodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:GpuNodeGroup", name, None, opts)
        spec = args.spec
        template = node_template(
            name,
            disk_gib=DISK_GIB_BASE + 2 * spec.vram_gib * spec.gpus_per_node,
            key_arn=args.key_arn,
            owned=args.owned,
            opts=pulumi.ResourceOptions(parent=self),
            reservation=spec.capacity_reservation,
        )
        self.groups = [self._group(name, args, share, template) for share in shares(spec)]
        self.register_outputs({"node_groups": [group.node_group_name for group in self.groups]})

    def _group(
        self, name: str, args: GpuNodeGroupArgs, share: Share, template: aws.ec2.LaunchTemplate
    ) -> aws.eks.NodeGroup:
        labels = {
            POOL_LABEL: args.pool,
            f"{LABEL_PREFIX}/gpu": args.spec.gpu,
            f"{LABEL_PREFIX}/capacity": share.suffix,
            "nvidia.com/gpu.present": "true",
        }
        return aws.eks.NodeGroup(
            f"{name}-{share.suffix}",
            cluster_name=args.cluster_name,
            node_role_arn=args.node_role_arn,
            subnet_ids=args.subnet_ids,
            instance_types=[args.spec.instance],
            ami_type="AL2023_x86_64_NVIDIA",
            capacity_type=share.capacity_type,
            labels=labels,
            taints=[{"key": GPU_TAINT, "value": "present", "effect": "NO_SCHEDULE"}],
            launch_template=launched_from(template),
            scaling_config={"min_size": share.min, "max_size": share.max, "desired_size": share.min},
            update_config={"max_unavailable": 1},
            tags=args.owned.tags(f"{name}-{share.suffix}", {f"{LABEL_PREFIX}/pool": args.pool}),
            opts=autoscaled(self),
        )
