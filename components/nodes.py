"""The machines without GPUs that a cluster's own parts run on, with the key of all disks and the role of all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.children import children_of, waiting
from components.iam import assumed_by
from components.keys import disk_key_policy
from components.node_template import NodeTemplateArgs, launched_from, node_template
from components.rights import Place, cache_policy
from components.tags import Owned
from environments.infrastructure import SystemNodesSpec

NODE_POLICIES = (
    "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
)
IMAGE = "AL2023_x86_64_STANDARD"


@dataclass(frozen=True)
class NodesArgs:
    """Where, how many and of which type; `cache_prefixes` are names of copies of images that nodes may have made."""

    region: str
    account: pulumi.Input[str]
    cluster_name: pulumi.Input[str]
    version: str
    subnet_ids: pulumi.Input[Sequence[str]]
    spec: SystemNodesSpec
    deletion_protection: bool
    owned: Owned
    cache_prefixes: Sequence[str] = ()


class Nodes(pulumi.ComponentResource):
    """A node group that always runs, and what every node of the cluster shares.

    Costs `min` machines; more come from Karpenter, which runs on these. Protects by: a key for disks that Auto
    Scaling, Karpenter and the disk driver may use through EC2 alone, and a machine image that each `up` brings up to
    date, one node at a time.
    """

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Nodes", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        self.disk_key = aws.kms.Key(
            f"{name}-disks",
            description=f"Disks of {name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=pulumi.Output.from_input(args.account).apply(lambda number: disk_key_policy(number, args.region)),
            tags=args.owned.tags(f"{name}-disks"),
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )
        self.role = aws.iam.Role(
            f"{name}-node", assume_role_policy=assumed_by("ec2.amazonaws.com"), tags=args.owned.tags(), opts=self._own
        )
        self.rights = [self._right(arn) for arn in NODE_POLICIES]
        if args.cache_prefixes:
            self.rights.append(self._cache())
        self.group = self._group()
        self.register_outputs({"role_arn": self.role.arn, "disk_key_arn": self.disk_key.arn})

    def _right(self, arn: str) -> pulumi.Resource:
        name = f"{self._name}-node-{arn.rpartition('/')[2]}"
        return aws.iam.RolePolicyAttachment(name, role=self.role.name, policy_arn=arn, opts=self._own)

    def _cache(self) -> pulumi.Resource:
        """Let every node, Karpenter's too, be the first that pulls an image through ECR."""
        args = self._args
        rights = pulumi.Output.from_input(args.account).apply(
            lambda account: cache_policy(Place(args.region, account, ""), args.cache_prefixes)
        )
        return aws.iam.RolePolicy(f"{self._name}-node-cache", role=self.role.id, policy=rights, opts=self._own)

    def _group(self) -> aws.eks.NodeGroup:
        args, spec, name = self._args, self._args.spec, f"{self._name}-system"
        disk = NodeTemplateArgs(disk_gib=spec.disk_gib, key_arn=self.disk_key.arn, owned=args.owned)
        return aws.eks.NodeGroup(
            name,
            cluster_name=args.cluster_name,
            node_role_arn=self.role.arn,
            subnet_ids=args.subnet_ids,
            instance_types=[spec.instance],
            ami_type=IMAGE,
            version=args.version,
            release_version=spec.release_version or newest_image(args.version, opts=pulumi.InvokeOptions(parent=self)),
            capacity_type="ON_DEMAND",
            launch_template=launched_from(node_template(name, disk, self._own)),
            scaling_config={"min_size": spec.min, "max_size": spec.max, "desired_size": spec.min},
            update_config={"max_unavailable": 1},
            tags=args.owned.tags(name),
            # Rights stay until the last node is gone: a node without them leaves network interfaces behind.
            opts=waiting(self._own, *self.rights, ignore_changes=["scalingConfig.desiredSize"]),
        )


def newest_image(version: str, *, kind: str = "standard", opts: pulumi.InvokeOptions) -> pulumi.Output[str]:
    """Return the release of the machine image that AWS recommends; `kind` is `standard` or `nvidia`."""
    path = f"/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/x86_64/{kind}/recommended/release_version"
    return aws.ssm.get_parameter_output(name=path, opts=opts).value
