"""A GPU pool in reserved capacity as an EKS node group: one zone, one size, bought before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.children import children_of, waiting
from components.node_template import NodeTemplateArgs, launched_from, node_template
from components.nodes import newest_image
from components.tags import Owned
from environments.names import GPU_TAINT, LABEL_PREFIX, POOL_LABEL
from environments.spec import GpuPool

# Model weights are unpacked on the node's disk: twice the memory of its GPUs, and room for images.
DISK_GIB_BASE = 150


def disk_gib(spec: GpuPool) -> int:
    """Return the size of a GPU node's root disk in GiB."""
    return DISK_GIB_BASE + 2 * spec.vram_gib * spec.gpus_per_node


def pool_labels(pool: str, spec: GpuPool) -> dict[str, str]:
    """Return the labels by which pods find the nodes of a pool; the device plugin adds what the driver says."""
    return {POOL_LABEL: pool, f"{LABEL_PREFIX}/gpu": spec.gpu, "nvidia.com/gpu.present": "true"}


@dataclass(frozen=True)
class GpuNodeGroupArgs:
    """A reserved pool as the environment declares it, and the cluster that it joins."""

    pool: str
    spec: GpuPool
    cluster_name: pulumi.Input[str]
    version: str
    node_role_arn: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    security_group_id: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    owned: Owned


class GpuNodeGroup(pulumi.ComponentResource):
    """The machines of a pool with `capacity: reserved` or `capacity_block`.

    Costs what the reservation costs, whether they run or not. Protects by: machines that start in the reservation
    alone, a taint that keeps other pods off, metadata by token, and encrypted disks. Made empty, so that making it
    waits for no machine: `nodes.max` of them are started by `aws eks update-nodegroup-config` when the reservation
    begins, and stay as many as a person says.
    """

    def __init__(self, name: str, args: GpuNodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:GpuNodeGroup", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        template = node_template(name, self._template(), self._own)
        self.group = self._group(template)
        self.register_outputs({"node_group": self.group.node_group_name})

    def _template(self) -> NodeTemplateArgs:
        args, spec = self._args, self._args.spec
        placed = None
        if spec.efa:
            placed = aws.ec2.PlacementGroup(
                self._name, strategy="cluster", tags=args.owned.tags(self._name), opts=self._own
            ).name
        return NodeTemplateArgs(
            disk_gib=disk_gib(spec),
            key_arn=args.key_arn,
            owned=args.owned,
            local_storage=True,
            reservation=spec.capacity_reservation,
            is_block=spec.capacity == "capacity_block",
            efa_security_groups=[args.security_group_id] if spec.efa else (),
            placement_group=placed,
        )

    def _group(self, template: aws.ec2.LaunchTemplate) -> aws.eks.NodeGroup:
        args, spec = self._args, self._args.spec
        return aws.eks.NodeGroup(
            self._name,
            cluster_name=args.cluster_name,
            node_role_arn=args.node_role_arn,
            subnet_ids=args.subnet_ids,
            instance_types=[spec.instance],
            ami_type="AL2023_x86_64_NVIDIA",
            version=args.version,
            release_version=newest_image(args.version, kind="nvidia", opts=pulumi.InvokeOptions(parent=self)),
            capacity_type="CAPACITY_BLOCK" if spec.capacity == "capacity_block" else "ON_DEMAND",
            labels=pool_labels(args.pool, spec),
            taints=[{"key": GPU_TAINT, "value": "present", "effect": "NO_SCHEDULE"}],
            launch_template=launched_from(template),
            scaling_config={"min_size": 0, "max_size": spec.nodes.max, "desired_size": 0},
            update_config={"max_unavailable": 1},
            tags=args.owned.tags(self._name, {f"{LABEL_PREFIX}/pool": args.pool}),
            opts=waiting(self._own, ignore_changes=["scalingConfig.desiredSize"]),
        )
