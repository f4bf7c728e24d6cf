"""The Helm charts that every cluster gets, each at one version, with their values.

Pure. `components.addons` installs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environments.names import GPU_TAINT, MONITORING_NAMESPACE, PROXY_NAMESPACE

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


ENVOY_GATEWAY = Chart("envoy-gateway", PROXY_NAMESPACE, "oci://docker.io/envoyproxy/gateway-helm", "1.9.0")
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


def autoscaler_values(cluster_name: str, region: str) -> Mapping[str, Any]:
    """Return cluster-autoscaler's values; instance types come from its own list, so it asks EC2 nothing."""
    return {
        "autoDiscovery": {"clusterName": cluster_name},
        "awsRegion": region,
        "rbac": {"serviceAccount": {"name": "cluster-autoscaler"}},
        "extraArgs": {
            "aws-use-static-instance-list": True,
            "balance-similar-node-groups": True,
            "expander": "least-waste",
            "scale-down-unneeded-time": "10m",
        },
    }


def gpu_values() -> Mapping[str, Any]:
    """Return the device plugin's values: only on GPU nodes, in spite of their taint."""
    return {"nodeSelector": GPU_SELECTOR, "tolerations": [GPU_TOLERATION], "affinity": {}}


def dcgm_values() -> Mapping[str, Any]:
    """Return the DCGM exporter's values: the device plugin's, and a monitor for Prometheus."""
    return {**gpu_values(), "serviceMonitor": {"enabled": True, "interval": "15s"}}
