"""What EKS itself keeps in a cluster: network, DNS, proxies, pod identity, disks and resource metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.children import children_of
from components.iam import assumed_by_pods
from components.rights import Place, logs_policy
from components.tags import Owned

# Before any node: a node without its network is never ready, and pods start with the roles that are theirs by then.
BEFORE_NODES: Mapping[str, Mapping[str, Any]] = {
    "vpc-cni": {"enableNetworkPolicy": "true", "env": {"ENABLE_PREFIX_DELEGATION": "true"}},
    "kube-proxy": {},
    "eks-pod-identity-agent": {},
}
STORAGE, LOGS = "aws-ebs-csi-driver", "amazon-cloudwatch-observability"
AFTER_NODES = ("coredns", "metrics-server", STORAGE, LOGS)
# Logs alone: metrics are Prometheus's, and CloudWatch's own by container cost more than the cluster.
LOGS_ONLY: Mapping[str, Any] = {
    "containerLogs": {"enabled": True},
    "agent": {"config": {"logs": {"metrics_collected": {}}}},
    "dcgmExporter": {"enabled": False},
    "neuronMonitor": {"enabled": False},
}


@dataclass(frozen=True)
class PodLogs:
    """Whose logs are shipped, for the role that ships them."""

    region: str
    account: pulumi.Output[str]
    cluster_name: str


@dataclass(frozen=True)
class ClusterAddonsArgs:
    """The cluster, its version, and the resources that must be there first; `wanted` is what to install."""

    eks_name: pulumi.Input[str]
    version: str
    wanted: Sequence[str]
    logs: PodLogs
    owned: Owned


class ClusterAddons(pulumi.ComponentResource):
    """EKS add-ons at the version that AWS recommends for the cluster's Kubernetes version.

    Costs nothing by itself; logs of pods cost what CloudWatch takes for them. Protects by: versions that `pulumi up`
    keeps current, and roles of their own. Made twice: the ones before any node, then those that need nodes.
    """

    def __init__(self, name: str, args: ClusterAddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:ClusterAddons", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        self.addons = [self._addon(addon) for addon in args.wanted]
        self.register_outputs({"addons": list(args.wanted)})

    def _addon(self, addon: str) -> aws.eks.Addon:
        args, values = self._args, self._values(addon)
        newest = aws.eks.get_addon_version_output(
            addon_name=addon, kubernetes_version=args.version, opts=pulumi.InvokeOptions(parent=self)
        )
        return aws.eks.Addon(
            f"{self._name}-{addon}",
            cluster_name=args.eks_name,
            addon_name=addon,
            addon_version=newest.version,
            configuration_values=json.dumps(values) if values else None,
            pod_identity_associations=self._identity(addon),
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="PRESERVE",
            tags=args.owned.tags(),
            opts=self._own,
        )

    def _values(self, addon: str) -> Mapping[str, Any]:
        if addon == STORAGE:
            return {"controller": {"extraVolumeTags": self._args.owned.tags()}}
        if addon == LOGS:
            return LOGS_ONLY
        return BEFORE_NODES.get(addon, {})

    def _identity(self, addon: str) -> list[aws.eks.AddonPodIdentityAssociationArgsDict] | None:
        """Return the role of an add-on's pods; the disks' key lets whoever may use EBS use it, so no more is needed."""
        if addon == STORAGE:
            role = self._role("ebs")
            arn = "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicyV2"
            aws.iam.RolePolicyAttachment(f"{self._name}-ebs", role=role.name, policy_arn=arn, opts=self._own)
            return [{"role_arn": role.arn, "service_account": "ebs-csi-controller-sa"}]
        if addon == LOGS:
            role, logs = self._role("logs"), self._args.logs
            rights = logs.account.apply(lambda account: logs_policy(Place(logs.region, account, logs.cluster_name)))
            aws.iam.RolePolicy(f"{self._name}-logs", role=role.id, policy=rights, opts=self._own)
            return [{"role_arn": role.arn, "service_account": "cloudwatch-agent"}]
        return None

    def _role(self, suffix: str) -> aws.iam.Role:
        return aws.iam.Role(
            f"{self._name}-{suffix}",
            assume_role_policy=assumed_by_pods(),
            tags=self._args.owned.tags(),
            opts=self._own,
        )
