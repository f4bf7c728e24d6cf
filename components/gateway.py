"""A cluster's way in: GatewayClass, Gateway with TLS, the Envoy proxies behind it, and who may send how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.client_auth import KEYS_SECRET, allow_list, team_policy
from components.namespaces import make_namespace
from components.objects import NLB, balancer, custom, meta
from components.pages import Page
from components.secret_store import Wanted, external_secret
from components.tags import Owned
from components.team_limits import backend_settings, counts_tokens, token_counter
from components.team_secrets import API_KEYS
from environments.infrastructure import GatewaySpec, TeamSpec
from environments.names import (
    ENVIRONMENT_LABEL,
    GATEWAY_NAMESPACE,
    PROXY_NAMESPACE,
    SLOT_HEADER,
    gateway_name,
    listener_name,
    secret_name,
)

STATS_PORT = 19001
ENVOY = "gateway.envoyproxy.io/v1alpha1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"


@dataclass(frozen=True)
class GatewayArgs:
    """Who may call, under which domain, and what each team may send to its endpoints.

    `endpoints` maps a team to its endpoints here, `namespaces` to its namespace. `issuer` signs the certificate.
    `region` tells this gateway's record from the other regions' of the same domain. `proxy_image` is the place of
    Envoy's image without its tag, None for its maker's.
    """

    region: str
    domain: str | None
    issuer: str
    spec: GatewaySpec
    teams: Mapping[str, TeamSpec]
    endpoints: Mapping[str, Sequence[str]]
    namespaces: Mapping[str, pulumi.Input[str]]
    allow_slot_header: bool
    pages: Sequence[Page]
    owned: Owned
    proxy_image: pulumi.Input[str] | None = None


class Gateway(pulumi.ComponentResource):
    """Envoy proxies behind a network load balancer.

    Costs a load balancer (about 20 USD a month and per GB) and the proxies' share of the system nodes. Protects by:
    TLS 1.2 or newer, an allow list of clients, keys or tokens of each team, a rate and a token quota for each, a slot
    header that clients cannot set, and streams that nothing cuts while they flow: Envoy's own limit for a request is
    15 s, and the load balancer forgets a connection that is silent for 350 s.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:Gateway", name, None, opts)
        self._name, self._args = name, args
        self._gateway = gateway_name(args.owned.environment)
        own = pulumi.ResourceOptions(parent=self)
        namespace = make_namespace(name, GATEWAY_NAMESPACE, args.owned, opts=own)
        self._own = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        self._make("proxy", ENVOY, "EnvoyProxy", self._gateway, self._proxy())
        self._class()
        heard = listeners(args.domain, args.owned.environment, args.pages)
        self._make(
            "gateway",
            GATEWAY_API,
            "Gateway",
            self._gateway,
            {"gatewayClassName": self._gateway, "listeners": heard},
            annotations={"cert-manager.io/cluster-issuer": args.issuer} if args.domain else None,
        )
        self._client_policy()
        self._make("allow", ENVOY, "SecurityPolicy", self._gateway, self._allow_list())
        self._scraping()
        for team, endpoints in sorted(args.endpoints.items()):
            self._team(team, endpoints)
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

    def _proxy(self) -> Mapping[str, Any]:
        args = self._args
        hosts = [page.host(args.domain) for page in args.pages] if args.domain else []
        return proxy_spec(args.spec, args.owned, records(args.domain, args.region, hosts), image=args.proxy_image)

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
        return {"targetRefs": [self._target()], "authorization": allow_list(self._args.spec.allowed_cidrs)}

    def _scraping(self) -> None:
        """Scrape the proxies, which Envoy Gateway runs beside itself: errors per endpoint and arm are counted there."""
        labels = {"app.kubernetes.io/component": "proxy", "app.kubernetes.io/name": "envoy"}
        spec = {
            "namespaceSelector": {"matchNames": [PROXY_NAMESPACE]},
            "selector": {"matchLabels": labels},
            "podMetricsEndpoints": [{"portNumber": STATS_PORT, "path": "/stats/prometheus", "interval": "10s"}],
        }
        self._make("metrics", "monitoring.coreos.com/v1", "PodMonitor", self._gateway, spec)

    def _team(self, team: str, endpoints: Sequence[str]) -> None:
        """Make what hangs on a team's routes: its limits, its keys, and the counter of its tokens."""
        spec, limits = self._args.spec, self._args.teams.get(team, TeamSpec())
        self._on_routes(team, "limits", "BackendTrafficPolicy", backend_settings(endpoints, spec, limits))
        if (policy := team_policy(team, endpoints, spec)) is not None:
            self._on_routes(team, "clients", "SecurityPolicy", policy)
        if spec.api_keys and spec.jwt is None:
            self._keys(team)
        if counts_tokens(spec, limits):
            self._on_routes(team, "tokens", "EnvoyExtensionPolicy", token_counter(endpoints))

    def _on_routes(self, team: str, what: str, kind: str, spec: Mapping[str, Any]) -> None:
        owned, namespace = self._args.owned.by(team), self._args.namespaces[team]
        metadata = meta(f"{what}-{team}", owned, namespace=namespace)
        custom(f"{self._name}-{what}-{team}", ENVOY, kind, metadata=metadata, spec=spec, opts=self._own)

    def _keys(self, team: str) -> None:
        """Fetch the team's keys: client names and keys, as one JSON object in AWS."""
        wanted = Wanted(KEYS_SECRET, {}, whole=secret_name(self._args.owned.environment, API_KEYS, team))
        external_secret(
            f"{self._name}-keys-{team}",
            wanted,
            self._args.owned.by(team),
            namespace=self._args.namespaces[team],
            opts=self._own,
        )


def records(domain: str | None, region: str, others: Sequence[str] = ()) -> dict[str, str]:
    """Return the annotations by which ExternalDNS keeps the domain's record of this region.

    Every region has one; a client gets the nearest whose load balancer is healthy, so a region that fails takes
    nothing with it.
    """
    if domain is None:
        return {}
    dns = "external-dns.alpha.kubernetes.io"
    return {
        f"{dns}/hostname": ",".join([domain, *others]),
        f"{dns}/set-identifier": region,
        f"{dns}/aws-region": region,
        f"{dns}/aws-evaluate-target-health": "true",
    }


def proxy_spec(
    spec: GatewaySpec, owned: Owned, annotations: Mapping[str, str], *, image: pulumi.Input[str] | None = None
) -> dict[str, Any]:
    """Return an EnvoyProxy's settings; `annotations` are further ones of its Service.

    `image` is without a tag: Envoy Gateway knows the one that goes with its version.

    `mergeBackends` stays unset and backendRefs stay plain: one Envoy cluster a route, in which a weight of 0 comes
    and goes without a failed request; a cluster for each backend failed some. The arms are then told apart by the
    statistics of each pod address, which is why those are on.
    """
    scheme = "internet-facing" if spec.public else "internal"
    service = {
        "type": "LoadBalancer",
        "loadBalancerSourceRanges": list(spec.allowed_cidrs),
        "externalTrafficPolicy": "Local",  # keeps the client's address, which the allow list judges
        "annotations": {
            f"{NLB}-scheme": scheme,
            f"{NLB}-internal": str(not spec.public).lower(),
            **balancer(owned),
            **annotations,
        },
    }
    zones = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
    spread = {**zones, "labelSelector": {"matchLabels": {"app.kubernetes.io/component": "proxy"}}}
    resources = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    container = {"resources": resources} | ({"imageRepository": image} if image is not None else {})
    deployment = {"pod": {"topologySpreadConstraints": [spread]}, "container": container}
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


def listeners(domain: str | None, environment: str, pages: Sequence[Page] = ()) -> list[dict[str, Any]]:
    """Return the Gateway's listeners: one for models, one for each page.

    Gates and warm-up reach a slot through its Service, past the gateway.
    """
    selector = {"matchLabels": {ENVIRONMENT_LABEL: environment}}
    routes = {"namespaces": {"from": "Selector", "selector": selector}, "kinds": [{"kind": "HTTPRoute"}]}
    if domain is None:
        return [{"name": listener_name(None), "protocol": "HTTP", "port": 80, "allowedRoutes": routes}]
    tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": f"{gateway_name(environment)}-tls"}]}
    clients = {"name": listener_name(domain), "protocol": "HTTPS", "port": 443, "hostname": domain, "tls": tls}
    return [{**clients, "allowedRoutes": routes}, *(_page_listener(page, domain, environment) for page in pages)]


def _page_listener(page: Page, domain: str, environment: str) -> dict[str, Any]:
    tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": f"{page.name}-tls"}]}
    there = {"matchLabels": {"kubernetes.io/metadata.name": page.namespace}}
    allowed = {"namespaces": {"from": "Selector", "selector": there}, "kinds": [{"kind": "HTTPRoute"}]}
    heard = {"name": page.name, "protocol": "HTTPS", "port": 443, "hostname": page.host(domain)}
    return {**heard, "tls": tls, "allowedRoutes": allowed}


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
        # The load balancer drops a connection without a word after 350 s of silence; an idle stream may last longer.
        "tcpKeepalive": {"idleTime": "60s", "interval": "60s", "probes": 3},
        "path": {"escapedSlashesAction": "UnescapeAndRedirect", "disableMergeSlashes": False},
    }
    if strips_slot:
        settings["headers"] = {"earlyRequestHeaders": {"remove": [SLOT_HEADER]}}
    return settings
