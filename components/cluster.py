"""A region's Kubernetes cluster: EKS without a public endpoint, with its keys, logs, people, add-ons and system nodes.

Imports `environments.names`. `stacks/platform` makes one for each region with `platform: kubernetes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import assumed_by, assumed_by_pods
from components.tags import Owned
from environments.infrastructure import SystemNodesSpec
from environments.names import CONTROLLER_GROUP, cluster_name

CONTROL_PLANE_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
NODE_POLICIES = (
    "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
)
ADDONS: Mapping[str, Mapping[str, object]] = {
    "vpc-cni": {"enableNetworkPolicy": "true"},
    "kube-proxy": {},
    "coredns": {},
    "eks-pod-identity-agent": {},
    "metrics-server": {},
    "aws-ebs-csi-driver": {},
}
NEEDS_NODES = frozenset({"coredns", "metrics-server", "aws-ebs-csi-driver"})


@dataclass(frozen=True)
class ClusterArgs:
    """Where, which version, who may administer it and on what its own parts run."""

    region: str
    version: str
    subnet_ids: pulumi.Input[Sequence[str]]
    admins: Sequence[str]
    controller_role_arn: pulumi.Input[str] | None
    nodes: SystemNodesSpec
    log_retention_days: int
    deletion_protection: bool
    owned: Owned


class Cluster(pulumi.ComponentResource):
    """An EKS cluster that is reached from inside the network only.

    Costs 73 USD a month, its system nodes and its logs. Protects by: a private endpoint, secrets encrypted with a key
    of its own, all control-plane logs, access entries in place of a shared kubeconfig, and pod identity in place of
    keys in pods. `controllers` in RBAC are whoever takes the controllers' role.
    """

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Cluster", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self.cluster_name = cluster_name(args.owned.environment, args.region)
        self.key = aws.kms.Key(
            name,
            description=f"Secrets and disks of {self.cluster_name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=args.owned.tags(name),
            opts=self._own,
        )
        self.eks = self._control_plane()
        self.arn: pulumi.Output[str] = self.eks.arn
        self.security_group_id = self.eks.vpc_config.cluster_security_group_id
        self.node_role = self._node_role()
        self.system_nodes = self._system_nodes()
        self._access()
        self._addons()
        self.kubeconfig = pulumi.Output.all(self.eks.endpoint, self.eks.certificate_authority.data, self.eks.arn).apply(
            lambda found: kubeconfig(self.cluster_name, args.region, endpoint=found[0], authority=found[1])
        )
        self.register_outputs(
            {"name": self.eks.name, "arn": self.arn, "kubeconfig": self.kubeconfig, "key_arn": self.key.arn}
        )

    def _control_plane(self) -> aws.eks.Cluster:
        args = self._args
        logs = aws.cloudwatch.LogGroup(
            self._name,
            name=f"/aws/eks/{self.cluster_name}/cluster",
            retention_in_days=args.log_retention_days,
            tags=args.owned.tags(),
            opts=self._own,
        )
        role = aws.iam.Role(
            f"{self._name}-control",
            assume_role_policy=assumed_by("eks.amazonaws.com"),
            tags=args.owned.tags(),
            opts=self._own,
        )
        policy = aws.iam.RolePolicyAttachment(
            f"{self._name}-control",
            role=role.name,
            policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy",
            opts=self._own,
        )
        return aws.eks.Cluster(
            self._name,
            name=self.cluster_name,
            version=args.version,
            role_arn=role.arn,
            enabled_cluster_log_types=list(CONTROL_PLANE_LOGS),
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": True},
            encryption_config={"provider": {"key_arn": self.key.arn}, "resources": ["secrets"]},
            vpc_config={
                "subnet_ids": args.subnet_ids,
                "endpoint_private_access": True,
                "endpoint_public_access": False,
            },
            bootstrap_self_managed_addons=False,
            deletion_protection=args.deletion_protection,
            tags=args.owned.tags(self.cluster_name),
            # The log group first, or EKS makes one that keeps logs for good.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, policy]),
        )

    def _node_role(self) -> aws.iam.Role:
        name = f"{self._name}-node"
        role = aws.iam.Role(
            name, assume_role_policy=assumed_by("ec2.amazonaws.com"), tags=self._args.owned.tags(), opts=self._own
        )
        for arn in NODE_POLICIES:
            aws.iam.RolePolicyAttachment(
                f"{name}-{arn.rpartition('/')[2]}", role=role.name, policy_arn=arn, opts=self._own
            )
        return role

    def _system_nodes(self) -> aws.eks.NodeGroup:
        name, nodes = f"{self._name}-system", self._args.nodes
        template = node_template(
            name, disk_gib=nodes.disk_gib, key_arn=self.key.arn, owned=self._args.owned, opts=self._own
        )
        return aws.eks.NodeGroup(
            name,
            cluster_name=self.eks.name,
            node_role_arn=self.node_role.arn,
            subnet_ids=self._args.subnet_ids,
            instance_types=[nodes.instance],
            ami_type="AL2023_x86_64_STANDARD",
            capacity_type="ON_DEMAND",
            launch_template=launched_from(template),
            scaling_config={"min_size": nodes.min, "max_size": nodes.max, "desired_size": nodes.min},
            update_config={"max_unavailable": 1},
            tags=self._args.owned.tags(name),
            opts=autoscaled(self),
        )

    def _access(self) -> None:
        for arn in self._args.admins:
            name = f"{self._name}-{arn.rpartition('/')[2]}"
            entry = self._entry(name, arn, groups=[])
            aws.eks.AccessPolicyAssociation(
                name,
                cluster_name=self.eks.name,
                principal_arn=arn,
                policy_arn=ADMIN_POLICY,
                access_scope={"type": "cluster"},
                opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
            )
        if self._args.controller_role_arn is not None:
            self._entry(f"{self._name}-controllers", self._args.controller_role_arn, groups=[CONTROLLER_GROUP])

    def _entry(self, name: str, arn: pulumi.Input[str], *, groups: Sequence[str]) -> aws.eks.AccessEntry:
        return aws.eks.AccessEntry(
            name,
            cluster_name=self.eks.name,
            principal_arn=arn,
            kubernetes_groups=groups,
            tags=self._args.owned.tags(),
            opts=self._own,
        )

    def _addons(self) -> None:
        storage = aws.iam.Role(
            f"{self._name}-ebs", assume_role_policy=assumed_by_pods(), tags=self._args.owned.tags(), opts=self._own
        )
        aws.iam.RolePolicyAttachment(
            f"{self._name}-ebs",
            role=storage.name,
            policy_arn="arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicyV2",
            opts=self._own,
        )
        for addon, values in ADDONS.items():
            identity = aws.eks.AddonPodIdentityAssociationArgsDict(
                role_arn=storage.arn, service_account="ebs-csi-controller-sa"
            )
            aws.eks.Addon(
                f"{self._name}-{addon}",
                cluster_name=self.eks.name,
                addon_name=addon,
                configuration_values=json.dumps(values) if values else None,
                pod_identity_associations=[identity] if addon == "aws-ebs-csi-driver" else None,
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="PRESERVE",
                tags=self._args.owned.tags(),
                opts=pulumi.ResourceOptions(
                    parent=self, depends_on=[self.system_nodes] if addon in NEEDS_NODES else None
                ),
            )


def autoscaled(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    """Return options for a node group: its desired size belongs to the autoscaler after it is made."""
    return pulumi.ResourceOptions(parent=parent, ignore_changes=["scalingConfig.desiredSize"])


def launched_from(template: aws.ec2.LaunchTemplate) -> aws.eks.NodeGroupLaunchTemplateArgs:
    """Return the newest version of a template, so that a change of it replaces nodes one by one."""
    return aws.eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str))


def node_template(
    name: str,
    *,
    disk_gib: int,
    key_arn: pulumi.Input[str],
    owned: Owned,
    opts: pulumi.ResourceOptions,
    reservation: str | None = None,
) -> aws.ec2.LaunchTemplate:
    """Return a launch template: tokens for instance metadata, an encrypted gp3 disk, tags on what starts from it."""
    bought = aws.ec2.LaunchTemplateCapacityReservationSpecificationArgs(
        capacity_reservation_target=aws.ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
            capacity_reservation_id=reservation
        )
    )
    disk = aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
        volume_size=disk_gib, volume_type="gp3", encrypted="true", kms_key_id=key_arn, delete_on_termination="true"
    )
    tags = owned.tags(name)
    return aws.ec2.LaunchTemplate(
        name,
        # One hop: a pod cannot borrow its node's role, only its own through pod identity.
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
        block_device_mappings=[aws.ec2.LaunchTemplateBlockDeviceMappingArgs(device_name="/dev/xvda", ebs=disk)],
        capacity_reservation_specification=bought if reservation else None,
        monitoring={"enabled": True},
        tag_specifications=[
            aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags) for kind in ("instance", "volume")
        ],
        tags=tags,
        opts=opts,
    )


def kubeconfig(name: str, region: str, *, endpoint: str, authority: str) -> str:
    """Return a kubeconfig, as JSON, with one context that is called like the cluster and signs in through AWS."""
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": ["eks", "get-token", "--cluster-name", name, "--region", region],
        "interactiveMode": "Never",
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"exec": command}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        },
        sort_keys=True,
    )
