"""A cluster's way in: GatewayClass, Gateway with TLS, the Envoy proxies behind it, and each team's limits.

Imports `environments.names`. `stacks/serving` makes one for each cluster. HTTPRoutes are the reconciler's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.namespaces import make_namespace
from components.objects import custom, meta
from components.tags import Owned
from environments.infrastructure import GatewaySpec, TeamSpec
from environments.names import (
    ENVIRONMENT_LABEL,
    GATEWAY_NAMESPACE,
    PROXY_NAMESPACE,
    SLOT_HEADER,
    gateway_name,
    listener_name,
    route_name,
)

STATS_PORT = 19001
ENVOY = "gateway.envoyproxy.io/v1alpha1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
NLB = "service.beta.kubernetes.io/aws-load-balancer"


@dataclass(frozen=True)
class GatewayArgs:
    """Who may call, under which domain, and what each team may send to its endpoints.

    `endpoints` maps a team to its endpoints here, `namespaces` to its namespace. `issuer` signs the certificate.
    """

    domain: str | None
    issuer: str
    spec: GatewaySpec
    teams: Mapping[str, TeamSpec]
    endpoints: Mapping[str, Sequence[str]]
    namespaces: Mapping[str, pulumi.Input[str]]
    allow_slot_header: bool
    owned: Owned


class Gateway(pulumi.ComponentResource):
    """Envoy proxies behind a network load balancer.

    Costs a load balancer (about 20 USD a month and per GB) and the proxies' share of the system nodes. Protects by:
    TLS 1.2 or newer, an allow list of clients, a rate for each team, a slot header that clients cannot set, and
    streams that nothing cuts while they flow: Envoy's own limit for a request is 15 s.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:Gateway", name, None, opts)
        self._name, self._args = name, args
        self._gateway = gateway_name(args.owned.environment)
        own = pulumi.ResourceOptions(parent=self)
        namespace = make_namespace(name, GATEWAY_NAMESPACE, args.owned, opts=own)
        self._own = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        self._make("proxy", ENVOY, "EnvoyProxy", self._gateway, proxy_spec(args.spec))
        self._class()
        self._make(
            "gateway",
            GATEWAY_API,
            "Gateway",
            self._gateway,
            {"gatewayClassName": self._gateway, "listeners": listeners(args.domain, args.owned.environment)},
            annotations={"cert-manager.io/cluster-issuer": args.issuer} if args.domain else None,
        )
        self._client_policy()
        self._make("allow", ENVOY, "SecurityPolicy", self._gateway, self._allow_list())
        self._scraping()
        for team, endpoints in sorted(args.endpoints.items()):
            self._team_limits(team, endpoints)
        self.register_outputs({"gateway": self._gateway, "namespace": GATEWAY_NAMESPACE})

    def _make(
        self,
        suffix: str,
        api: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        *,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        metadata = meta(name, self._args.owned, namespace=GATEWAY_NAMESPACE, annotations=annotations)
        custom(f"{self._name}-{suffix}", api, kind, metadata=metadata, spec=spec, opts=self._own)

    def _class(self) -> None:
        proxy = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": self._gateway}
        custom(
            f"{self._name}-class",
            GATEWAY_API,
            "GatewayClass",
            metadata=meta(self._gateway, self._args.owned),
            spec={"controllerName": CONTROLLER, "parametersRef": {**proxy, "namespace": GATEWAY_NAMESPACE}},
            opts=self._own,
        )

    def _client_policy(self) -> None:
        args = self._args
        spec = {"targetRefs": [self._target()], **client_settings(args.spec, strips_slot=not args.allow_slot_header)}
        if args.domain:
            spec["tls"] = {"minVersion": "1.2", "alpnProtocols": ["h2", "http/1.1"]}
        self._make("clients", ENVOY, "ClientTrafficPolicy", self._gateway, spec)

    def _target(self) -> dict[str, str]:
        return {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": self._gateway}

    def _allow_list(self) -> Mapping[str, Any]:
        clients = {"clientCIDRs": list(self._args.spec.allowed_cidrs)}
        rule = {"name": "known-clients", "action": "Allow", "principal": clients}
        return {"targetRefs": [self._target()], "authorization": {"defaultAction": "Deny", "rules": [rule]}}

    def _scraping(self) -> None:
        """Scrape the proxies, which Envoy Gateway runs beside itself: errors per endpoint and arm are counted there."""
        labels = {"app.kubernetes.io/component": "proxy", "app.kubernetes.io/name": "envoy"}
        spec = {
            "namespaceSelector": {"matchNames": [PROXY_NAMESPACE]},
            "selector": {"matchLabels": labels},
            "podMetricsEndpoints": [{"portNumber": STATS_PORT, "path": "/stats/prometheus", "interval": "10s"}],
        }
        self._make("metrics", "monitoring.coreos.com/v1", "PodMonitor", self._gateway, spec)

    def _team_limits(self, team: str, endpoints: Sequence[str]) -> None:
        args = self._args
        owned, limits = args.owned.by(team), args.teams.get(team, TeamSpec())
        custom(
            f"{self._name}-limits-{team}",
            ENVOY,
            "BackendTrafficPolicy",
            metadata=meta(f"limits-{team}", owned, namespace=args.namespaces[team]),
            spec=backend_settings(endpoints, args.spec, limits),
            opts=self._own,
        )


def proxy_spec(spec: GatewaySpec) -> dict[str, Any]:
    """Return an EnvoyProxy's settings.

    `mergeBackends` stays unset and backendRefs stay plain: one Envoy cluster a route, in which a weight of 0 comes
    and goes without a failed request; a cluster for each backend failed some. The arms are then told apart by the
    statistics of each pod address, which is why those are on.
    """
    scheme = "internet-facing" if spec.public else "internal"
    service = {
        "type": "LoadBalancer",
        "loadBalancerSourceRanges": list(spec.allowed_cidrs),
        "externalTrafficPolicy": "Local",  # keeps the client's address, which the allow list judges
        "annotations": {f"{NLB}-type": "nlb", f"{NLB}-scheme": scheme, f"{NLB}-internal": str(not spec.public).lower()},
    }
    zones = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    spread = {**zones, "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "proxy"}}}
    resources = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    deployment = {"pod": {"topologySpreadConstraints": [spread]}, "container": {"resources": resources}}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    kubernetes: dict[str, Any] = {
        "envoyService": service,
        "envoyDeployment": deployment,
        "envoyHpa": {
            "minReplicas": spec.proxies,
            "maxReplicas": max(spec.proxies, spec.proxies_max),
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
    }
    if spec.proxies > 1:
        kubernetes["envoyPDB"] = {"minAvailable": spec.proxies - 1}
    return {
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        "telemetry": {"metrics": {"enablePerEndpointStats": True}},
        "shutdown": {"drainTimeout": f"{spec.drain_s}s", "minDrainDuration": "10s"},
    }


def listeners(domain: str | None, environment: str) -> list[dict[str, Any]]:
    """Return the Gateway's one listener; gates and warm-up reach a slot through its Service, past the gateway."""
    selector = {"matchLabels": {ENVIRONMENT_LABEL: environment}}
    routes = {"namespaces": {"from": "Selector", "selector": selector}, "kinds": [{"kind": "HTTPRoute"}]}
    if domain is None:
        return [{"name": listener_name(None), "protocol": "HTTP", "port": 80, "allowedRoutes": routes}]
    tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": f"{gateway_name(environment)}-tls"}]}
    clients = {"name": listener_name(domain), "protocol": "HTTPS", "port": 443, "hostname": domain, "tls": tls}
    return [{**clients, "allowedRoutes": routes}]


def client_settings(spec: GatewaySpec, *, strips_slot: bool) -> dict[str, Any]:
    """Return what a listener allows its clients; a stream may last as long as it says something."""
    settings: dict[str, Any] = {
        "timeout": {
            "http": {
                "requestHeadersReceivedTimeout": "10s",
                "requestReceivedTimeout": "60s",
                "idleTimeout": "600s",
                "streamIdleTimeout": f"{spec.idle_stream_s}s",
            }
        },
        "connection": {"connectionLimit": {"value": 20000}, "bufferLimit": "1Mi"},
        "path": {"escapedSlashesAction": "UnescapeAndRedirect", "disableMergeSlashes": False},
    }
    if strips_slot:
        settings["headers"] = {"earlyRequestHeaders": {"remove": [SLOT_HEADER]}}
    return settings


def backend_settings(endpoints: Sequence[str], spec: GatewaySpec, limits: TeamSpec) -> dict[str, Any]:
    """Return a team's policy over its routes: no time limit for a request, a rate, and no retries.

    Envoy counts in each proxy by itself, so that a limit needs no store; the team's rate is divided by the proxies
    that always run and holds for each of its endpoints. A retry would hide a failing challenger from the judge.
    """
    settings: dict[str, Any] = {
        "targetRefs": [
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route_name(endpoint)}
            for endpoint in endpoints
        ],
        "timeout": {
            "tcp": {"connectTimeout": "5s"},
            "http": {"requestTimeout": "0s", "streamIdleTimeout": f"{spec.idle_stream_s}s"},
        },
        "circuitBreaker": {"maxConnections": 16384, "maxPendingRequests": 16384, "maxParallelRequests": 16384},
    }
    if limits.requests_per_minute is not None:
        share = -(-limits.requests_per_minute // spec.proxies)
        rule = {"limit": {"requests": share, "unit": "Minute"}}
        settings["rateLimit"] = {"type": "Local", "local": {"rules": [rule]}}
    return settings
