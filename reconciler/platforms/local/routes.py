"""Envoy's clusters and routes as JSON, made from a table of endpoints and read back from it. Pure.

Imports the names module and the core's canonical JSON. Called by `gateway`, which writes and confirms the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from environments.names import RELEASE_HEADER, SLOT_HEADER, SLOTS, slot_object
from reconciler.core.canonical import Json, digest
from reconciler.platforms.local.counting import NOTE, SPLIT
from reconciler.platforms.splits import PARTS, parts_of

ROUTES = "routes"
"""The name of the one route table. Both listeners read it; the public one drops `x-sluice-slot` before routing."""
_SERVER_IDLE_S = 3
"""Shorter than the 5 s after which vLLM closes an idle connection, or Envoy would send a request into a closing one."""
_NO_RELEASE = "none"
_ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class EndpointRoute:
    """One endpoint in the gateway: weight in percent and release id by slot; no weights at all means not open yet."""

    weights_pct: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0.0))
    releases: Mapping[str, str] = field(default_factory=dict)

    def with_release(self, slot: str, release: str | None) -> EndpointRoute:
        """Return the line with another release, or none, in a slot."""
        others = {name: found for name, found in self.releases.items() if name != slot}
        return replace(self, releases=others | ({slot: release} if release else {}))

    def published(self) -> tuple[str, ...]:
        """Return the slots whose release a request may ask for: it has a share, and no other slot has it too."""
        having = [slot for slot in SLOTS if self.weights_pct.get(slot, 0.0) > 0 and slot in self.releases]
        return tuple(slot for slot in having if [self.releases[s] for s in having].count(self.releases[slot]) == 1)


Table = Mapping[str, EndpointRoute]
"""Every endpoint of one region by name."""


def cluster_config(ports: Mapping[str, Mapping[str, int]]) -> Json:
    """Return the discovery response with both clusters of every endpoint; `ports` is endpoint → slot → port.

    A slot without a server has a cluster without hosts, so that a route never names a cluster that is not there.
    """
    clusters = [_cluster(name, slot, ports[name].get(slot)) for name in sorted(ports) for slot in SLOTS]
    return _versioned(_CLUSTER, clusters)


def ports_in(response: Json) -> dict[str, dict[str, int]]:
    """Return the ports that `cluster_config` was given.

    Raises:
        KeyError, TypeError, ValueError: it is not what `cluster_config` writes.
    """
    found: dict[str, dict[str, int]] = {}
    for cluster in response["resources"]:
        endpoint, _, slot = cluster["name"].rpartition("-")
        for hosts in cluster["load_assignment"]["endpoints"]:
            address = hosts["lb_endpoints"][0]["endpoint"]["address"]
            found.setdefault(endpoint, {})[slot] = int(address["socket_address"]["port_value"])
    return found


def route_config(table: Table) -> Json:
    """Return the discovery response with the route table; its version is its content's hash."""
    return _versioned(_ROUTE, [_route_table(table)])


def table_of(response: Json) -> dict[str, EndpointRoute]:
    """Return the table that a discovery response holds.

    A weight is given as it was asked for when Envoy's whole number stands for it, else as Envoy has it.

    Raises:
        KeyError, TypeError, ValueError: it is not what `route_config` writes.
    """
    (resource,) = response["resources"]
    return routes_in(resource)


def routes_in(resource: Json) -> dict[str, EndpointRoute]:
    """Return the table in one route configuration, as written or as Envoy's dump shows it.

    Raises:
        KeyError, TypeError, ValueError: it is not what `route_config` writes.
    """
    routes = resource["virtual_hosts"][0]["routes"]
    return {route["name"]: _line(route) for route in routes if "name" in route}


def split_name(line: EndpointRoute) -> str:
    """Return the name under which the requests that a line sends are counted.

    It tells the parts of every slot, then their releases: what a slot answers after another release came into it is
    counted by itself.
    """
    parts = parts_of(line.weights_pct)
    releases = (line.releases.get(slot, "").rpartition("-")[2] or _NO_RELEASE for slot in SLOTS)
    return "_".join((*(str(parts[slot]) for slot in SLOTS), *releases))


def weights_in(split: str) -> dict[str, float]:
    """Return the weights in percent by slot that a split's name tells; none of a name of another kind."""
    parts = split.split("_")
    if len(parts) not in (len(SLOTS), 2 * len(SLOTS)) or not all(part.isdecimal() for part in parts[: len(SLOTS)]):
        return {}
    return {slot: 100.0 * int(part) / PARTS for slot, part in zip(SLOTS, parts, strict=False)}


def releases_in(endpoint: str, split: str) -> dict[str, str]:
    """Return the releases by slot that a split's name tells; none of a name of another kind."""
    parts = split.split("_")
    if len(parts) != 2 * len(SLOTS):
        return {}
    return {
        slot: f"{endpoint}-{part}" for slot, part in zip(SLOTS, parts[len(SLOTS) :], strict=True) if part != _NO_RELEASE
    }


def _versioned(kind: str, resources: list[Json]) -> Json:
    return {"version_info": digest(resources).removeprefix("sha256:")[:16], "resources": _typed(kind, resources)}


def _typed(kind: str, resources: list[Json]) -> list[Json]:
    return [{"@type": kind, **resource} for resource in resources]


def _cluster(endpoint: str, slot: str, port: int | None) -> Json:
    name = slot_object(endpoint, slot)
    hosts = [] if port is None else [{"lb_endpoints": [{"endpoint": {"address": loopback(port)}}]}]
    # The defaults (1,024) would refuse requests that the server itself would queue.
    ample = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 1000}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": hosts},
        "circuit_breakers": {"thresholds": [ample]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": f"{_SERVER_IDLE_S}s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def loopback(port: int) -> Json:
    """Return Envoy's address of a port of this machine."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _route_table(table: Table) -> Json:
    routes: list[Json] = []
    for endpoint in sorted(table):
        line = table[endpoint]
        routes += [_pinned(endpoint, line, slot) for slot in SLOTS]
        routes += [_drawn(endpoint, line, slot) for slot in line.published()]
        routes.append(_weighted(endpoint, line))
    routes.append(_answer({"prefix": "/"}, 404, "there is no endpoint of this name here"))
    return {
        "name": ROUTES,
        "virtual_hosts": [{"name": ROUTES, "domains": ["*"], "routes": routes}],
        "request_headers_to_remove": [SLOT_HEADER],
    }


def _pinned(endpoint: str, line: EndpointRoute, slot: str) -> Json:
    exact = [{"name": SLOT_HEADER, "string_match": {"exact": slot}}]
    action = {"cluster": slot_object(endpoint, slot), **_forwarding()}
    headers = _marks(slot, line.releases.get(slot))
    return {"match": {"prefix": f"/{endpoint}/", "headers": exact}, "route": action, "response_headers_to_add": headers}


def _drawn(endpoint: str, line: EndpointRoute, slot: str) -> Json:
    """Return the route of requests whose application has drawn the slot's release; they are counted with the others."""
    release = line.releases[slot]
    exact = [{"name": RELEASE_HEADER, "string_match": {"exact": release}}]
    return {
        "match": {"prefix": f"/{endpoint}/", "headers": exact},
        "metadata": {"filter_metadata": {NOTE: {SPLIT: split_name(line)}}},
        "route": {"cluster": slot_object(endpoint, slot), **_forwarding()},
        "response_headers_to_add": _marks(slot, release),
    }


def _weighted(endpoint: str, line: EndpointRoute) -> Json:
    note = {"weights_pct": dict(line.weights_pct), "releases": dict(line.releases), SPLIT: split_name(line)}
    shared = {"name": endpoint, "metadata": {"filter_metadata": {NOTE: note}}}
    match = {"prefix": f"/{endpoint}/"}
    if not any(line.weights_pct.values()):
        return shared | _answer(match, 503, "no release of this endpoint serves yet")
    clusters = [
        {
            "name": slot_object(endpoint, slot),
            "weight": weight,
            "response_headers_to_add": _marks(slot, line.releases.get(slot)),
        }
        for slot, weight in parts_of(line.weights_pct).items()
    ]
    return shared | {"match": match, "route": {"weighted_clusters": {"clusters": clusters}, **_forwarding()}}


def _forwarding() -> Json:
    """Return how a request goes on: no prefix, no time limit, and a second try only where nothing was sent yet."""
    retry = {"retry_on": "connect-failure", "num_retries": 2}
    return {"prefix_rewrite": "/", "timeout": "0s", "idle_timeout": "0s", "retry_policy": retry}


def _marks(slot: str, release: str | None) -> list[Json]:
    values = {SLOT_HEADER: slot} | ({RELEASE_HEADER: release} if release else {})
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in values.items()
    ]


def _answer(match: Json, status: int, message: str) -> Json:
    body = f'{{"error":{{"message":"{message}","type":"gateway","code":{status}}}}}'
    json_type = {"header": {"key": "content-type", "value": "application/json"}}
    return {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [json_type | {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }


def _line(route: Json) -> EndpointRoute:
    note = route["metadata"]["filter_metadata"][NOTE]
    asked = {slot: float(pct) for slot, pct in note["weights_pct"].items()}
    present = _parts_in(route)
    if present == (parts_of(asked) if any(asked.values()) else {}):
        return EndpointRoute(asked, dict(note.get("releases", {})))
    total = sum(present.values()) or 1
    return EndpointRoute({slot: 100 * part / total for slot, part in present.items()}, dict(note.get("releases", {})))


def _parts_in(route: Json) -> dict[str, int]:
    clusters: list[Any] = route.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
    return {found["name"].rpartition("-")[2]: int(found.get("weight", 0)) for found in clusters}
