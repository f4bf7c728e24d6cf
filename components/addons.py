"""What every cluster runs beside our own parts: machines, gateway, scaling, monitoring, secrets, DNS, GPU drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.helm.v3 import Release

from components import chart_values as values
from components.addon_objects import (
    Certificates,
    PrometheusAddress,
    grafana_secrets,
    issuer,
    karpenter_monitor,
    prometheus_services,
)
from components.chart_images import through_cache
from components.charts import (
    CERT_MANAGER,
    CHARTS,
    DCGM,
    DEVICE_PLUGIN,
    EFA,
    EXTERNAL_DNS,
    EXTERNAL_SECRETS,
    KARPENTER,
    KARPENTER_CRDS,
    LEADER_WORKER_SET,
    PROMETHEUS,
    Chart,
)
from components.namespaces import make_namespace
from components.node_pools import NodePools, NodePoolsArgs
from components.secret_store import SecretStore, SecretStoreArgs, external_secret
from components.storage_class import StorageClass, StorageClassArgs
from components.tags import Owned
from environments.names import MONITORING_NAMESPACE

# They make machines and fetch secrets for everything after them.
FIRST = (KARPENTER_CRDS, KARPENTER, EXTERNAL_SECRETS)
VALUES: Mapping[str, Callable[[values.ClusterFacts], values.Values]] = {
    "karpenter-crd": lambda facts: {},
    "karpenter": values.karpenter_values,
    "external-secrets": values.external_secrets_values,
    "monitoring": values.prometheus_values,
    "envoy-gateway": values.envoy_gateway_values,
    "keda": values.keda_values,
    "cert-manager": values.cert_manager_values,
    "external-dns": values.external_dns_values,
    "lws": values.leader_worker_set_values,
    "nvidia-device-plugin": values.gpu_values,
    "efa-device-plugin": values.efa_values,
    "dcgm-exporter": values.dcgm_values,
    "opencost": values.opencost_values,
}


@dataclass(frozen=True)
class AddonsArgs:
    """The cluster's facts, its machines, whether it has GPUs, and what is written about it elsewhere."""

    facts: pulumi.Output[values.ClusterFacts]
    plain: values.ClusterFacts
    nodes: NodePoolsArgs
    has_gpus: bool
    has_efa: bool
    certificates: Certificates | None
    prometheus: PrometheusAddress | None
    owned: Owned


class Addons(pulumi.ComponentResource):
    """Charts in the order that their CRDs need, the classes and stores around them, and Karpenter's pools.

    Costs pods on the system nodes and 105 GiB of disk for metrics. Protects by: pinned charts, a pod security level on
    each namespace, secrets that no state holds, and roles that each pod has before it starts.
    """

    def __init__(self, name: str, args: AddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:Addons", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        charts = wanted_charts(args)
        self._namespaces = self._make_namespaces(charts)
        self.releases: dict[str, pulumi.Resource] = {}
        for chart in FIRST:
            self._install(chart, [])
        needed = [*self._machines(), *self._secrets()]
        for chart in (chart for chart in charts if chart not in FIRST):
            self._install(chart, needed)
        self._around()
        self.register_outputs({"charts": [f"{chart.chart} {chart.version}" for chart in charts]})

    def _make_namespaces(self, charts: Sequence[Chart]) -> dict[str, Namespace]:
        levels = {chart.namespace: chart.level for chart in charts} | dict(b for chart in charts for b in chart.beside)
        return {
            namespace: make_namespace(
                f"{self._name}-{namespace}", namespace, self._args.owned, level=level, opts=self._own
            )
            for namespace, level in levels.items()
        }

    def _machines(self) -> list[pulumi.Resource]:
        """Let Karpenter make machines for everything after it, and disks for what claims them."""
        args = self._args
        pools = NodePools(self._name, args.nodes, self._after(KARPENTER.name))
        return [pools, StorageClass(self._name, StorageClassArgs(args.nodes.disk_key_arn, args.owned), self._own)]

    def _secrets(self) -> list[pulumi.Resource]:
        """Open the store, and fetch what Grafana's chart names."""
        args = self._args
        self.store = SecretStore(
            self._name, SecretStoreArgs(args.plain.region, args.owned), self._after(EXTERNAL_SECRETS.name)
        )
        opts = pulumi.ResourceOptions(parent=self, depends_on=[self.store])
        return [
            external_secret(
                f"{self._name}-{wanted.name}", wanted, args.owned, namespace=self.monitoring_namespace, opts=opts
            )
            for wanted in grafana_secrets(args.plain)
        ]

    @property
    def monitoring_namespace(self) -> pulumi.Output[str]:
        """Return the namespace of Prometheus, once it is there."""
        return self._namespaces[MONITORING_NAMESPACE].metadata.name.apply(str)

    def _after(self, *charts: str) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=[self.releases[chart] for chart in charts])

    def _install(self, chart: Chart, needed: Sequence[pulumi.Resource]) -> None:
        places = [chart.namespace, *(namespace for namespace, _ in chart.beside)]
        needs = [
            *(self._namespaces[place] for place in places),
            *(self.releases[need] for need in chart.needs),
            *needed,
        ]
        self.releases[chart.name] = Release(
            f"{self._name}-{chart.name}",
            name=chart.name,
            namespace=chart.namespace,
            chart=chart.chart,
            version=chart.version,
            repository_opts={"repo": chart.repository} if chart.repository else None,
            values=self._args.facts.apply(lambda facts: told(chart.name, facts)),
            atomic=True,
            timeout=600,
            opts=pulumi.ResourceOptions(parent=self, depends_on=needs),
        )

    def _around(self) -> None:
        """Make the objects that no chart makes: Prometheus's address, Karpenter's monitor, the issuer."""
        args = self._args
        here = pulumi.ResourceOptions(parent=self, depends_on=[self._namespaces[MONITORING_NAMESPACE]])
        prometheus_services(self._name, args.owned, args.prometheus, here)
        karpenter_monitor(self._name, args.owned, self._after(PROMETHEUS.name))
        if args.certificates:
            issuer(self._name, args.plain.region, args.certificates, args.owned, self._after(CERT_MANAGER.name))


def told(chart: str, facts: values.ClusterFacts) -> values.Values:
    """Return all values of a chart: what it is to do, and where its images are pulled from."""
    return through_cache(chart, VALUES[chart](facts), facts.registries)


def wanted_charts(args: AddonsArgs) -> list[Chart]:
    """Return the charts of a cluster, in the order in which each finds what it needs."""
    optional = {
        CERT_MANAGER: args.certificates is not None,
        EXTERNAL_DNS: bool(args.plain.domains),
        LEADER_WORKER_SET: args.has_gpus,
        EFA: args.has_efa,
        DEVICE_PLUGIN: args.has_gpus,
        DCGM: args.has_gpus,
    }
    return [chart for chart in CHARTS if optional.get(chart, True)]
