"""A region's objects as endpoints: what every slot runs, every server does and every weight is. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments.names import ENDPOINT_LABEL, RELEASE_LABEL, SLOT_LABEL, SLOTS, Address
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.pending import Cluster, why_no_pods
from reconciler.platforms.kubernetes.placement import GatewayRef
from reconciler.platforms.kubernetes.pods import GROUP_INDEX, WORKER_INDEX, replica
from reconciler.platforms.kubernetes.route import refused, weights_of
from reconciler.platforms.splits import WEIGHT_RESOLUTION_PCT

Body = Mapping[str, Any]


async def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True)
class Doors:
    """How servers are reached: by namespace and pod's or Service's name; None where nobody here can reach them."""

    pod: Callable[[str, Body], str | None]
    slot: Callable[[str, str], str | None]
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass
class EndpointObjects:
    """An endpoint's objects in its namespace: workloads and pods by slot, and its route."""

    workloads: dict[str, Body] = field(default_factory=dict)
    pods: dict[str, list[Body]] = field(default_factory=dict)
    route: Body | None = None


@dataclass(frozen=True)
class View:
    """What else an endpoint is judged by: its Gateway, who controls that, its cluster, and how servers are reached."""

    gateway: GatewayRef
    controller: str
    cluster: Cluster
    doors: Doors


def by_endpoint(workloads: Iterable[Body], pods: Iterable[Body], routes: Iterable[Body]) -> dict[str, EndpointObjects]:
    """Return a region's objects by endpoint; what has no labels of ours is left out."""
    found: dict[str, EndpointObjects] = {}
    for body in workloads:
        if place := _place(body):
            found.setdefault(place[0], EndpointObjects()).workloads[place[1]] = body
    for body in routes:
        if name := _labels(body).get(ENDPOINT_LABEL):
            found.setdefault(name, EndpointObjects()).route = body
    for body in pods:
        place = _place(body)
        if place and place[0] in found:  # pods without a workload and a route are on their way out
            found[place[0]].pods.setdefault(place[1], []).append(body)
    return found


def observed(address: Address, found: EndpointObjects, view: View) -> ObservedEndpoint:
    """Return one endpoint as it is."""
    weights = weights_of(found.route, address.endpoint)
    slots = {slot: _slot(address, slot, found, weights[slot], view) for slot in SLOTS}
    return ObservedEndpoint(
        address,
        slots,
        gateway_problem=refused(found.route, view.gateway, view.controller) if found.route else None,
        weight_resolution_pct=WEIGHT_RESOLUTION_PCT,
    )


def leads(pod: Body) -> bool:
    """Return whether a pod answers for its replica: every pod, or the first one of a group of machines."""
    return _labels(pod).get(WORKER_INDEX, "0") == "0"


def _slot(address: Address, slot: str, found: EndpointObjects, weight: float, view: View) -> ObservedSlot:
    body = found.workloads.get(slot)
    if body is None:
        return _vanished(address, slot, found.route, weight)
    try:
        release = marks.release_of(marks.notes_of(body).get(marks.RELEASE))
    except ValueError as error:
        return ObservedSlot(weight_pct=weight, damage=f"its Deployment's note of the release is damaged: {error}")
    if release is None:
        return ObservedSlot(weight_pct=weight, damage="something that Sluice did not make has the slot's name")
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    wanted = 0 if "deletionTimestamp" in body["metadata"] else int(body["spec"].get("replicas", 1))
    servers = _servers(body, release, found.pods.get(slot, []), wanted, view)
    return ObservedSlot(release, servers, wanted, weight, view.doors.slot(namespace, name))


def _servers(body: Body, release: Release, pods: Sequence[Body], wanted: int, view: View) -> tuple[Replica, ...]:
    """Return a slot's servers; those that it wants and that have no pod yet are starting."""
    warm, name, namespace = marks.warm_servers(body), body["metadata"]["name"], body["metadata"]["namespace"]
    ours = sorted((p for p in pods if _labels(p).get(RELEASE_LABEL) == release.id), key=_name)
    there = [
        replica(pod, warm, view.cluster, workers=_workers(pod, ours), url=view.doors.pod(namespace, pod))
        for pod in ours
        if leads(pod)
    ]
    staying = sum(server.state not in (ServerState.STOPPING, ServerState.DEAD) for server in there)
    why = why_no_pods((body.get("status") or {}).get("conditions") or ()) or "its pod is being made"
    lacking = (
        Replica(f"{name}/{n}", ServerState.STARTING, reason=why, displaced=True) for n in range(staying + 1, wanted + 1)
    )
    return (*there, *lacking)


def _workers(leader: Body, pods: Sequence[Body]) -> list[Body]:
    """Return the other pods of a leader's group; none where each pod is a server by itself."""
    group = _labels(leader).get(GROUP_INDEX)
    return [p for p in pods if group is not None and _labels(p).get(GROUP_INDEX) == group and not leads(p)]


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _vanished(address: Address, slot: str, route: Body | None, weight: float) -> ObservedSlot:
    """Return a slot without a workload: empty, or with weight that somebody left on it."""
    if weight == 0:
        return ObservedSlot()
    try:
        release = marks.release_of(marks.serving_texts(route).get(slot))
    except ValueError:
        release = None
    if release is None:
        return ObservedSlot(weight_pct=weight, damage="its Deployment is gone, and nothing says what it ran")
    reason = "its Deployment was deleted by somebody else; `sluice apply` makes it again"
    gone = Replica(f"{address.endpoint}-{slot}", ServerState.DEAD, reason=reason)
    return ObservedSlot(release, (gone,), 1, weight)


def _labels(body: Body) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}


def _place(body: Body) -> tuple[str, str] | None:
    labels = _labels(body)
    endpoint, slot = labels.get(ENDPOINT_LABEL), labels.get(SLOT_LABEL)
    return (endpoint, slot) if endpoint and slot in SLOTS else None
