"""An endpoint's HTTPRoute in the shape that fails no request, its weights read back, and whether it is in force. Pure.

Plain backendRefs and no filter on them: Envoy Gateway then makes one cluster a rule, in which a weight comes from and
goes to 0 without a failed request. A cluster for each backend failed some, and so did rules that changed their places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from environments.names import (
    ENDPOINT_LABEL,
    RELEASE_HEADER,
    SLOT_HEADER,
    SLOT_PORT,
    SLOTS,
    Address,
    route_name,
    slot_object,
)
from reconciler.core.canonical import Json
from reconciler.kubernetes.kinds import GATEWAY, HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.placement import GatewayRef
from reconciler.platforms.splits import parts_of

_NEEDED = ("Accepted", "ResolvedRefs")


@dataclass(frozen=True)
class Line:
    """What an endpoint's route says: weights in percent, the release of each slot, and the slots that answer.

    `releases` holds releases as the text of an annotation; `pins` says whether a request may name its slot.
    """

    weights_pct: Mapping[str, float]
    ids: Mapping[str, str] = field(default_factory=dict)
    releases: Mapping[str, str] = field(default_factory=dict)
    answering: Collection[str] = ()
    pins: bool = False


def route(address: Address, namespace: str, gateway: GatewayRef, line: Line, *, fence: int) -> Json:
    """Return the whole HTTPRoute of an endpoint; whoever applies its rules owns all of them."""
    parent = {"group": GATEWAY.group, "kind": GATEWAY.name, "name": gateway.name, "namespace": gateway.namespace}
    kept = {marks.serving(s): text for s, text in line.releases.items() if line.weights_pct.get(s, 0.0) > 0}
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.name,
        "metadata": {
            "name": route_name(address.endpoint),
            "namespace": namespace,
            "labels": {ENDPOINT_LABEL: address.endpoint},
            "annotations": {marks.ADDRESS: str(address), marks.FENCE: str(fence), **kept},
        },
        "spec": {
            "parentRefs": [parent | ({"sectionName": gateway.listener} if gateway.listener else {})],
            "rules": list(_rules(address.endpoint, line)),
        },
    }


def stamped(body: Mapping[str, Any], fence: int) -> Json:
    """Return a route as it is with another token, for its own version alone: whoever had read it cannot write now."""
    metadata = body["metadata"]
    ours = {key: text for key, text in marks.notes_of(body).items() if key.startswith(marks.PREFIX)}
    return {
        "apiVersion": HTTP_ROUTE.api_version,
        "kind": HTTP_ROUTE.name,
        "metadata": {
            **{key: metadata[key] for key in ("name", "namespace", "resourceVersion")},
            "labels": {ENDPOINT_LABEL: metadata["name"]},
            "annotations": {**ours, marks.FENCE: str(fence)},
        },
        "spec": body["spec"],
    }


def weights_of(body: Mapping[str, Any] | None, endpoint: str) -> dict[str, float]:
    """Return the weights of all slots in percent; 0 for each where nothing has any."""
    main = next((rule for rule in _live_rules(body) if not _headers(rule)), {})
    parts = dict.fromkeys(SLOTS, 0)
    for ref in main.get("backendRefs") or ():
        slot = _slot_of(ref, endpoint)
        if slot:
            parts[slot] = int(ref.get("weight", 1))
    total = sum(parts.values())
    return {slot: 100 * count / total if total else 0.0 for slot, count in parts.items()}


def says(body: Mapping[str, Any] | None, wanted: Json) -> bool:
    """Return whether a live route says what is wanted, what the API server adds by itself aside."""
    if body is None or any(marks.notes_of(body).get(k) != v for k, v in marks.notes_of(wanted).items()):
        return False
    return _told(body["spec"]) == _told(wanted["spec"])


def not_in_force(body: Mapping[str, Any] | None, gateway: GatewayRef, controller: str) -> str | None:
    """Return in words why a route is not in force yet; None when its controller says that it is.

    The controller's word is for the generation that it saw: an older one says nothing of the present rules.
    """
    if body is None:
        return "the route is not there"
    if why := unseen(body, gateway, controller):
        return why
    lacking = _conditions(body, gateway, controller).get("BackendsAvailable")
    if lacking and lacking["status"] == "False":
        return f"a slot of the route has no server that answers: {lacking.get('message', '')}"
    return refused(body, gateway, controller)


def unseen(body: Mapping[str, Any], gateway: GatewayRef, controller: str) -> str | None:
    """Return in words that the controller has not seen a route's present rules; None when it has."""
    conditions = _conditions(body, gateway, controller)
    if not conditions:
        return f"the Gateway {gateway.namespace}/{gateway.name} has not taken the route yet"
    generation = body["metadata"].get("generation")
    if any(conditions.get(name, {}).get("observedGeneration") != generation for name in _NEEDED):
        return "the gateway has not seen the present weights yet"
    return None


def refused(body: Mapping[str, Any], gateway: GatewayRef, controller: str) -> str | None:
    """Return in words why the gateway passes no traffic by a route; None when it does, or has not said."""
    for name, condition in _conditions(body, gateway, controller).items():
        if name in _NEEDED and condition["status"] != "True":
            why = condition.get("message") or condition.get("reason", "")
            return f"the Gateway {gateway.namespace}/{gateway.name} refuses the route ({name}): {why}"
    return None


def _rules(endpoint: str, line: Line) -> Iterator[Json]:
    """Yield the rules: the weights, a release of each slot by its name, a slot by name where that is allowed.

    A rule keeps its place whatever the weights are: Envoy Gateway names a rule's cluster by it, and a place that moves
    is a cluster that is not there yet, so requests fail. What may not be asked for by name goes by the weights.
    The order decides nothing: a rule that also asks for a header is preferred to one that does not.
    """
    parts = parts_of(line.weights_pct)
    yield _rule(endpoint, parts, {})
    for slot in SLOTS:
        told = list(line.ids.values()).count(line.ids.get(slot, "")) == 1
        name = line.ids[slot] if told else f"none-{slot}"
        leads = told and line.weights_pct.get(slot, 0.0) > 0 and slot in line.answering
        yield _rule(endpoint, {slot: 1} if leads else parts, {RELEASE_HEADER: name})
    for slot in SLOTS if line.pins else ():
        yield _rule(endpoint, {slot: 1} if slot in line.answering else parts, {SLOT_HEADER: slot})


def _rule(endpoint: str, weights: Mapping[str, int], headers: Mapping[str, str]) -> Json:
    match: Json = {"path": {"type": "PathPrefix", "value": f"/{endpoint}"}}
    if headers:
        match["headers"] = [{"type": "Exact", "name": name, "value": value} for name, value in headers.items()]
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    return {
        "matches": [match],
        "filters": [rewrite],
        "backendRefs": [
            {"kind": "Service", "name": slot_object(endpoint, slot), "port": SLOT_PORT, "weight": weight}
            for slot, weight in sorted(weights.items())
        ],
        "timeouts": {"request": "0s"},  # Envoy's own limit of 15 s would cut a stream
    }


def _told(spec: Mapping[str, Any]) -> list[Json]:
    """Return what a route's rules say, without the defaults that the API server writes into them."""
    return [
        {
            "path": [match.get("path") for match in rule.get("matches") or ()],
            "headers": _headers(rule),
            "to": [(ref["name"], ref.get("port"), ref.get("weight", 1)) for ref in rule.get("backendRefs") or ()],
            "timeouts": rule.get("timeouts"),
            "filters": rule.get("filters"),
        }
        for rule in spec.get("rules") or ()
    ]


def _live_rules(body: Mapping[str, Any] | None) -> list[Json]:
    return ((body or {}).get("spec") or {}).get("rules") or []


def _headers(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    matches = rule.get("matches") or ()
    return [(each["name"].lower(), each["value"]) for match in matches for each in match.get("headers") or ()]


def _slot_of(ref: Mapping[str, Any], endpoint: str) -> str | None:
    return next((slot for slot in SLOTS if ref.get("name") == slot_object(endpoint, slot)), None)


def _conditions(body: Mapping[str, Any], gateway: GatewayRef, controller: str) -> dict[str, Json]:
    """Return what our Gateway's controller says of a route, by type; a route may hang on others, too."""
    for said in (body.get("status") or {}).get("parents") or ():
        ref = said["parentRef"]
        named = (ref.get("name"), ref.get("namespace", body["metadata"]["namespace"]))
        ours = named == (gateway.name, gateway.namespace)
        if ours and said.get("controllerName") == controller and ref.get("sectionName") in (None, gateway.listener):
            return {condition["type"]: condition for condition in said.get("conditions") or ()}
    return {}
