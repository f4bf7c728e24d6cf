"""What stands around the charts of a cluster and no chart makes: addresses, monitors, the issuer, Grafana's secrets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core.v1 import Service, ServicePortArgsDict, ServiceSpecArgsDict

from components.chart_values import GRAFANA_SECRET, SIGN_ON_SECRET, ClusterFacts
from components.charts import KARPENTER
from components.objects import SKIP_AWAIT, custom, internal_balancer, meta
from components.secret_store import Wanted
from components.tags import Owned
from components.team_secrets import GRAFANA, SINGLE_SIGN_ON
from environments.names import MONITORING_NAMESPACE, PROMETHEUS_NAME, PROMETHEUS_PORT, secret_name

ISSUER = "letsencrypt"


@dataclass(frozen=True)
class Certificates:
    """The domain's zone, and where the certificate authority writes to."""

    hosted_zone_id: str
    email: str


@dataclass(frozen=True)
class PrometheusAddress:
    """By which name the home region reaches this one's Prometheus, and the range that it comes from."""

    host: str
    home_cidr: str


def grafana_secrets(facts: ClusterFacts) -> list[Wanted]:
    """Return the Secrets that Grafana reads: its administrator, and with sign-on the client's secret."""
    password = {"password": secret_name(facts.environment, GRAFANA)}
    found = [Wanted(GRAFANA_SECRET, password, fixed={"user": "admin", "password": "{{ .password }}"})]
    if facts.sign_on:
        key = {"GF_AUTH_GENERIC_OAUTH_CLIENT_SECRET": secret_name(facts.environment, SINGLE_SIGN_ON)}
        found.append(Wanted(SIGN_ON_SECRET, key))
    return found


def prometheus_services(
    name: str, owned: Owned, regional: PrometheusAddress | None, opts: pulumi.ResourceOptions
) -> None:
    """Give Prometheus the addresses that environment files use, in the cluster and from the home region."""
    port: ServicePortArgsDict = {"name": "http", "port": PROMETHEUS_PORT, "target_port": PROMETHEUS_PORT}
    spec: ServiceSpecArgsDict = {"selector": {"app.kubernetes.io/name": "prometheus"}, "ports": [port]}
    metadata = meta(PROMETHEUS_NAME, owned, namespace=MONITORING_NAMESPACE, annotations=SKIP_AWAIT)
    Service(f"{name}-prometheus", metadata=metadata, spec=spec, opts=opts)
    if regional is None:
        return
    annotations = {
        **SKIP_AWAIT,
        **internal_balancer(owned),
        "external-dns.alpha.kubernetes.io/hostname": regional.host,
    }
    Service(
        f"{name}-prometheus-regional",
        metadata=meta(f"{PROMETHEUS_NAME}-regional", owned, namespace=MONITORING_NAMESPACE, annotations=annotations),
        spec={**spec, "type": "LoadBalancer", "load_balancer_source_ranges": [regional.home_cidr]},
        opts=opts,
    )


def karpenter_monitor(name: str, owned: Owned, opts: pulumi.ResourceOptions) -> None:
    """Scrape Karpenter, whose chart comes before the CRD of its own monitor."""
    custom(
        f"{name}-karpenter-metrics",
        "monitoring.coreos.com/v1",
        "PodMonitor",
        metadata=meta(KARPENTER.name, owned, namespace=KARPENTER.namespace),
        spec={
            "selector": {"matchLabels": {"app.kubernetes.io/name": "karpenter"}},
            "podMetricsEndpoints": [{"port": "http-metrics", "interval": "30s"}],
        },
        opts=opts,
    )


def issuer(name: str, region: str, certificates: Certificates, owned: Owned, opts: pulumi.ResourceOptions) -> None:
    """Make the issuer of certificates, which proves a domain by a record in its zone."""
    zone = {"route53": {"region": region, "hostedZoneID": certificates.hosted_zone_id}}
    acme = {
        "server": "https://acme-v02.api.letsencrypt.org/directory",
        "email": certificates.email,
        "privateKeySecretRef": {"name": ISSUER},
        "solvers": [{"dns01": zone}],
    }
    metadata = meta(ISSUER, owned)
    custom(f"{name}-issuer", "cert-manager.io/v1", "ClusterIssuer", metadata=metadata, spec={"acme": acme}, opts=opts)
