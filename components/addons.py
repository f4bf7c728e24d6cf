"""What every cluster runs beside our own parts: gateway, autoscalers, monitoring, certificates and GPU drivers.

Imports `environments.names`. `stacks/platform` makes one for each cluster; versions are pinned here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi_kubernetes.core.v1 import Service
from pulumi_kubernetes.helm.v3 import Release

from components.iam import assumed_by_pods, statements
from components.namespaces import make_namespace
from components.objects import custom, meta
from components.tags import Owned
from environments.names import (
    GPU_TAINT,
    MONITORING_NAMESPACE,
    PROMETHEUS_NAME,
    PROMETHEUS_PORT,
)

ISSUER = "letsencrypt"
GPU_SELECTOR = {"nvidia.com/gpu.present": "true"}
GPU_TOLERATION = {"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}


@dataclass(frozen=True)
class Chart:
    """A Helm chart at one version. `repository` is None for an OCI chart, whose `chart` is an address."""

    name: str
    namespace: str
    chart: str
    version: str
    repository: str | None = None
    level: str = "restricted"


ENVOY_GATEWAY = Chart("envoy-gateway", "envoy-gateway-system", "oci://docker.io/envoyproxy/gateway-helm", "1.9.0")
KEDA = Chart("keda", "keda", "keda", "2.17.0", "https://kedacore.github.io/charts")
PROMETHEUS = Chart(
    "monitoring",
    MONITORING_NAMESPACE,
    "kube-prometheus-stack",
    "77.0.0",
    "https://prometheus-community.github.io/helm-charts",
    level="privileged",  # the node exporter reads the host's own file systems
)
AUTOSCALER = Chart(
    "cluster-autoscaler",
    "cluster-autoscaler",
    "cluster-autoscaler",
    "9.50.0",
    "https://kubernetes.github.io/autoscaler",
)
CERT_MANAGER = Chart("cert-manager", "cert-manager", "cert-manager", "v1.18.2", "https://charts.jetstack.io")
DEVICE_PLUGIN = Chart(
    "nvidia-device-plugin",
    "nvidia",
    "nvidia-device-plugin",
    "0.17.3",
    "https://nvidia.github.io/k8s-device-plugin",
    level="privileged",  # talks to the kubelet's sockets and to the devices
)
DCGM = Chart(
    "dcgm-exporter",
    "nvidia",
    "dcgm-exporter",
    "4.5.0",
    "https://nvidia.github.io/dcgm-exporter/helm-charts",
    "privileged",
)


@dataclass(frozen=True)
class Certificates:
    """The domain's zone, and where the certificate authority writes to."""

    hosted_zone_id: str
    email: str


@dataclass(frozen=True)
class AddonsArgs:
    """The cluster, whether it has GPU pools, and how long and how safely metrics are kept."""

    region: str
    cluster_name: str
    eks_name: pulumi.Input[str]
    has_gpus: bool
    replicas: int
    certificates: Certificates | None
    alert_topic_arns: Sequence[pulumi.Input[str]]
    owned: Owned


class Addons(pulumi.ComponentResource):
    """Envoy Gateway, KEDA, Prometheus with Grafana, cluster-autoscaler, cert-manager, NVIDIA's device plugin and DCGM.

    Costs pods on the system nodes and 100 GiB of disk for metrics. Protects by: pinned charts, a pod security level
    on each namespace, and roles through pod identity that reach this cluster's own groups and zone only.
    """

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Addons", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        charts: list[tuple[Chart, Mapping[str, Any]]] = [
            (ENVOY_GATEWAY, {"deployment": {"replicas": args.replicas}}),
            (KEDA, {"operator": {"replicaCount": args.replicas}}),
            (PROMETHEUS, prometheus_values(args.replicas)),
            (AUTOSCALER, self._autoscaler_values()),
        ]
        charts += [(DEVICE_PLUGIN, gpu_values()), (DCGM, dcgm_values())] if args.has_gpus else []
        charts += [(CERT_MANAGER, {"crds": {"enabled": True}, "config": GATEWAY_SHIM})] if args.certificates else []
        namespaces = self._namespaces([chart for chart, _ in charts])
        self.releases = {c.name: self._release(c, values, namespaces[c.namespace]) for c, values in charts}
        self.monitoring_namespace = namespaces[MONITORING_NAMESPACE].metadata.name
        self._identities()
        self._prometheus_service(namespaces[MONITORING_NAMESPACE])
        if args.certificates:
            self._issuer(args.certificates)
        self.register_outputs({"charts": [f"{chart.chart} {chart.version}" for chart, _ in charts]})

    def _namespaces(self, charts: Sequence[Chart]) -> dict[str, Any]:
        levels = {chart.namespace: chart.level for chart in charts}
        return {
            namespace: make_namespace(
                f"{self._name}-{namespace}", namespace, self._args.owned, level=level, opts=self._own
            )
            for namespace, level in levels.items()
        }

    def _release(self, chart: Chart, values: Mapping[str, Any], namespace: pulumi.Resource) -> Release:
        return Release(
            f"{self._name}-{chart.name}",
            name=chart.name,
            namespace=chart.namespace,
            chart=chart.chart,
            version=chart.version,
            repository_opts={"repo": chart.repository} if chart.repository else None,
            values=values,
            atomic=True,
            timeout=600,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )

    def _autoscaler_values(self) -> Mapping[str, Any]:
        return {
            "autoDiscovery": {"clusterName": self._args.cluster_name},
            "awsRegion": self._args.region,
            "rbac": {"serviceAccount": {"name": "cluster-autoscaler"}},
            "extraArgs": {
                "balance-similar-node-groups": True,
                "scale-down-unneeded-time": "10m",
                "expander": "least-waste",
            },
        }

    def _identities(self) -> None:
        tag = f"k8s.io/cluster-autoscaler/{self._args.cluster_name}"
        self._role("cluster-autoscaler", ("cluster-autoscaler", "cluster-autoscaler"), autoscaler_policy(tag))
        if topics := self._args.alert_topic_arns:
            policy = pulumi.Output.all(*topics).apply(lambda arns: statements((["sns:Publish"], arns)))
            self._role("alertmanager", (MONITORING_NAMESPACE, "alertmanager"), policy)
        if self._args.certificates:
            policy = dns_policy(self._args.certificates.hosted_zone_id)
            self._role("cert-manager", ("cert-manager", "cert-manager"), policy)

    def _role(self, suffix: str, account: tuple[str, str], policy: pulumi.Input[str]) -> None:
        """Let the pods of one ServiceAccount (namespace, name) take a role with `policy`."""
        name = f"{self._name}-{suffix}"
        tags = self._args.owned.tags()
        role = aws.iam.Role(name, assume_role_policy=assumed_by_pods(), tags=tags, opts=self._own)
        aws.iam.RolePolicy(name, role=role.id, policy=policy, opts=self._own)
        aws.eks.PodIdentityAssociation(
            name,
            cluster_name=self._args.eks_name,
            namespace=account[0],
            service_account=account[1],
            role_arn=role.arn,
            tags=tags,
            opts=self._own,
        )

    def _prometheus_service(self, namespace: pulumi.Resource) -> None:
        """Give Prometheus the address that environment files use: http://prometheus.monitoring:9090."""
        Service(
            f"{self._name}-prometheus",
            metadata=meta(PROMETHEUS_NAME, self._args.owned, namespace=MONITORING_NAMESPACE),
            spec={
                "selector": {"app.kubernetes.io/name": "prometheus"},
                "ports": [{"name": "http", "port": PROMETHEUS_PORT, "target_port": PROMETHEUS_PORT}],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )

    def _issuer(self, certificates: Certificates) -> None:
        zone = {"route53": {"region": self._args.region, "hostedZoneID": certificates.hosted_zone_id}}
        acme = {
            "server": "https://acme-v02.api.letsencrypt.org/directory",
            "email": certificates.email,
            "privateKeySecretRef": {"name": ISSUER},
            "solvers": [{"dns01": zone}],
        }
        custom(
            f"{self._name}-issuer",
            "cert-manager.io/v1",
            "ClusterIssuer",
            metadata=meta(ISSUER, self._args.owned),
            spec={"acme": acme},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.releases[CERT_MANAGER.name]]),
        )


GATEWAY_SHIM = {
    "apiVersion": "controller.config.cert-manager.io/v1alpha1",
    "kind": "ControllerConfiguration",
    "enableGatewayAPI": True,
}


def prometheus_values(replicas: int) -> Mapping[str, Any]:
    """Return kube-prometheus-stack's values: rules and monitors of every namespace, dashboards from ConfigMaps."""
    disk = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}}}
    return {
        "fullnameOverride": "kube-prometheus",
        "prometheus": {
            "prometheusSpec": {
                "replicas": replicas,
                "retention": "30d",
                "ruleSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "storageSpec": {"volumeClaimTemplate": {"spec": disk}},
            }
        },
        "alertmanager": {
            "serviceAccount": {"name": "alertmanager"},
            "alertmanagerSpec": {"replicas": replicas, "alertmanagerConfigMatcherStrategy": {"type": "None"}},
        },
        "grafana": {
            "sidecar": {"dashboards": {"enabled": True, "label": "grafana_dashboard", "searchNamespace": "ALL"}}
        },
    }


def gpu_values() -> Mapping[str, Any]:
    """Return the device plugin's values: only on GPU nodes, in spite of their taint."""
    return {"nodeSelector": GPU_SELECTOR, "tolerations": [GPU_TOLERATION], "affinity": {}}


def dcgm_values() -> Mapping[str, Any]:
    """Return the DCGM exporter's values: the device plugin's, and a monitor for Prometheus."""
    return {**gpu_values(), "serviceMonitor": {"enabled": True, "interval": "15s"}}


def autoscaler_policy(tag: str) -> str:
    """Return cluster-autoscaler's policy: it sees all groups and changes those that carry `tag`.

    Source: cluster-autoscaler's AWS documentation; none of the describing calls can be narrowed to a resource.
    """

    read = [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLaunchConfigurations",
        "autoscaling:DescribeScalingActivities",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:GetInstanceTypesFromInstanceRequirements",
        "eks:DescribeNodegroup",
    ]
    write = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    owned = {"StringEquals": {f"aws:ResourceTag/{tag}": "owned"}}
    found = [
        {"Effect": "Allow", "Action": read, "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": write,
            "Resource": "arn:aws:autoscaling:*:*:autoScalingGroup:*",
            "Condition": owned,
        },
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": found})


def dns_policy(zone: str) -> str:
    """Return cert-manager's policy: it answers challenges in one zone."""
    return statements(
        (["route53:GetChange"], ["arn:aws:route53:::change/*"]),
        (
            ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets"],
            [f"arn:aws:route53:::hostedzone/{zone}"],
        ),
    )
