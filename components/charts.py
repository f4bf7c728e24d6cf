"""The Helm charts that clusters get, each at one version. Pure; values stand in `chart_values`."""

from __future__ import annotations

from dataclasses import dataclass

from environments.names import MONITORING_NAMESPACE, PROXY_NAMESPACE

NODE_EXPORTER_NAMESPACE = "node-exporter"


@dataclass(frozen=True)
class Chart:
    """A Helm chart at one version. `repository` is None for an OCI chart, whose `chart` is an address.

    `level` is the Pod Security standard that its namespace enforces, and `beside` are further namespaces with theirs;
    `needs` are charts whose CRDs or machines it uses.
    """

    name: str
    namespace: str
    chart: str
    version: str
    repository: str | None = None
    level: str = "restricted"
    needs: tuple[str, ...] = ()
    beside: tuple[tuple[str, str], ...] = ()


# CRDs apart from the operator, so that an upgrade of Karpenter brings new ones: Helm never upgrades a chart's own.
KARPENTER_CRDS = Chart("karpenter-crd", "karpenter", "oci://public.ecr.aws/karpenter/karpenter-crd", "1.13.0")
# Several types and zones a pool, spot with a way back, machines that are replaced before they are old.
KARPENTER = Chart(
    "karpenter", "karpenter", "oci://public.ecr.aws/karpenter/karpenter", "1.13.0", needs=("karpenter-crd",)
)
PROMETHEUS = Chart(
    "monitoring",
    MONITORING_NAMESPACE,
    "kube-prometheus-stack",
    "88.5.3",
    "https://prometheus-community.github.io/helm-charts",
    needs=("external-secrets",),
    beside=((NODE_EXPORTER_NAMESPACE, "privileged"),),  # it reads the host's own file systems; nothing else here does
)
ENVOY_GATEWAY = Chart("envoy-gateway", PROXY_NAMESPACE, "oci://docker.io/envoyproxy/gateway-helm", "1.9.0")
KEDA = Chart("keda", "keda", "keda", "2.20.2", "https://kedacore.github.io/charts")
# After Envoy Gateway: with the Gateway API's CRDs missing it starts without the part that makes our certificate.
CERT_MANAGER = Chart(
    "cert-manager", "cert-manager", "cert-manager", "v1.21.2", "https://charts.jetstack.io", needs=("envoy-gateway",)
)
EXTERNAL_DNS = Chart(
    "external-dns", "external-dns", "external-dns", "1.21.1", "https://kubernetes-sigs.github.io/external-dns",
    needs=("monitoring",),
)  # fmt: skip
# Values stay in AWS Secrets Manager; neither Pulumi's state nor a file holds one.
EXTERNAL_SECRETS = Chart(
    "external-secrets", "external-secrets", "external-secrets", "1.3.1", "https://charts.external-secrets.io"
)
# Groups of pods over several machines, for models larger than one.
LEADER_WORKER_SET = Chart("lws", "lws-system", "oci://registry.k8s.io/lws/charts/lws", "0.10.0")
# What each team's pods cost inside a shared pool, which no tag of AWS can say.
OPENCOST = Chart(
    "opencost", "opencost", "opencost", "2.5.17", "https://opencost.github.io/opencost-helm-chart",
    needs=("monitoring",),
)  # fmt: skip
DEVICE_PLUGIN = Chart(
    "nvidia-device-plugin",
    "nvidia",
    "nvidia-device-plugin",
    "0.20.0",
    "https://nvidia.github.io/k8s-device-plugin",
    level="privileged",  # talks to the kubelet's sockets and to the devices
)
# Hands the adapters of efa pools to pods; machines without one have no pod of it.
EFA = Chart(
    "efa-device-plugin",
    "nvidia",
    "aws-efa-k8s-device-plugin",
    "v0.5.30",
    "https://aws.github.io/eks-charts",
    level="privileged",
)
DCGM = Chart(
    "dcgm-exporter",
    "nvidia",
    "dcgm-exporter",
    "4.8.2",
    "https://nvidia.github.io/dcgm-exporter/helm-charts",
    level="privileged",
    needs=("monitoring",),
)
# In an order in which each finds what it needs.
CHARTS = (
    KARPENTER_CRDS,
    KARPENTER,
    EXTERNAL_SECRETS,
    PROMETHEUS,
    ENVOY_GATEWAY,
    KEDA,
    CERT_MANAGER,
    EXTERNAL_DNS,
    LEADER_WORKER_SET,
    DEVICE_PLUGIN,
    EFA,
    DCGM,
    OPENCOST,
)
