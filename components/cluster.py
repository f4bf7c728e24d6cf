"""A region's Kubernetes control plane: EKS with its key, its logs, and who may enter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import assumed_by
from components.rights import log_groups
from components.tags import Owned
from environments.names import CONTROLLER_GROUP, cluster_name

CONTROL_PLANE_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


@dataclass(frozen=True)
class ClusterArgs:
    """Where, which version, who may administer it, and from where its API server is reached.

    `api_cidrs` are private ranges, `api_public_cidrs` public ones; without the latter it has no public address.
    """

    region: str
    version: str
    subnet_ids: pulumi.Input[Sequence[str]]
    admins: Sequence[str]
    controller_role_arn: pulumi.Input[str] | None
    api_cidrs: Sequence[str]
    api_public_cidrs: Sequence[str]
    log_retention_days: int
    deletion_protection: bool
    owned: Owned


class Cluster(pulumi.ComponentResource):
    """An EKS control plane.

    Costs 73 USD a month while its version is in standard support, and its logs. Protects by: secrets encrypted with a
    key of its own, all control-plane logs, no public address unless ranges are named, and access entries in place of
    a shared kubeconfig. Whoever creates it gets in by an entry like everybody else: an entry that EKS makes by itself
    cannot be declared again. `controllers` in RBAC are whoever takes the controllers' role.
    """

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Cluster", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self.cluster_name = cluster_name(args.owned.environment, args.region)
        self._key = aws.kms.Key(
            name,
            description=f"Secrets of {self.cluster_name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            tags=args.owned.tags(name),
            opts=pulumi.ResourceOptions(parent=self, protect=args.deletion_protection),
        )
        self.eks = self._control_plane()
        self.arn: pulumi.Output[str] = self.eks.arn
        self.security_group_id: pulumi.Output[str] = self.eks.vpc_config.cluster_security_group_id.apply(
            lambda group: group or ""
        )
        self._pod_logs()
        self._access()
        self._reachable()
        self.kubeconfig = pulumi.Output.all(self.eks.endpoint, self.eks.certificate_authority.data).apply(
            lambda found: kubeconfig(self.cluster_name, args.region, endpoint=found[0], authority=found[1])
        )
        self.register_outputs({"name": self.eks.name, "arn": self.arn, "kubeconfig": self.kubeconfig})

    def _control_plane(self) -> aws.eks.Cluster:
        args, public = self._args, list(self._args.api_public_cidrs)
        role, rights = self._role()
        return aws.eks.Cluster(
            self._name,
            name=self.cluster_name,
            version=args.version,
            role_arn=role.arn,
            enabled_cluster_log_types=list(CONTROL_PLANE_LOGS),
            access_config={"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False},
            encryption_config={"provider": {"key_arn": self._key.arn}, "resources": ["secrets"]},
            vpc_config={
                "subnet_ids": args.subnet_ids,
                "endpoint_private_access": True,
                "endpoint_public_access": bool(public),
                "public_access_cidrs": public or None,
            },
            # Leaves a version when its standard support ends, in place of paying six times the price.
            upgrade_policy={"support_type": "STANDARD"},
            bootstrap_self_managed_addons=False,
            deletion_protection=args.deletion_protection,
            tags=args.owned.tags(self.cluster_name),
            # The log group first, or EKS makes one that keeps logs for good.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._logs(), rights]),
        )

    def _logs(self) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            self._name,
            name=f"/aws/eks/{self.cluster_name}/cluster",
            retention_in_days=self._args.log_retention_days,
            tags=self._args.owned.tags(),
            opts=self._own,
        )

    def _pod_logs(self) -> None:
        """Make the groups of pods' logs before their shipper does, which would keep them for good."""
        for group in log_groups(self.cluster_name):
            aws.cloudwatch.LogGroup(
                f"{self._name}-{group.rpartition('/')[2]}",
                name=group,
                retention_in_days=self._args.log_retention_days,
                tags=self._args.owned.tags(),
                opts=self._own,
            )

    def _role(self) -> tuple[aws.iam.Role, pulumi.Resource]:
        name = f"{self._name}-control"
        role = aws.iam.Role(
            name, assume_role_policy=assumed_by("eks.amazonaws.com"), tags=self._args.owned.tags(), opts=self._own
        )
        rights = aws.iam.RolePolicyAttachment(
            name, role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy", opts=self._own
        )
        return role, rights

    def _access(self) -> None:
        self.access: list[pulumi.Resource] = []
        for arn in self._args.admins:
            name = f"{self._name}-{arn.rpartition('/')[2]}"
            entry = self._entry(name, arn, groups=[])
            association = aws.eks.AccessPolicyAssociation(
                name,
                cluster_name=self.eks.name,
                principal_arn=arn,
                policy_arn=ADMIN_POLICY,
                access_scope={"type": "cluster"},
                opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
            )
            self.access.append(association)
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

    def _reachable(self) -> None:
        """Let the named private ranges reach the API server; the group that EKS makes admits its own members alone."""
        for i, cidr in enumerate(self._args.api_cidrs):
            aws.vpc.SecurityGroupIngressRule(
                f"{self._name}-api-{i}",
                security_group_id=self.security_group_id,
                description="People who reach the API server",
                cidr_ipv4=cidr,
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                tags=self._args.owned.tags(),
                opts=self._own,
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
