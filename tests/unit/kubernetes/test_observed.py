"""A region's objects become endpoints: slots with their releases and servers, and what somebody else did to them."""

from __future__ import annotations

from typing import Any

from reconciler.core.model.observed import ObservedEndpoint, ServerState
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.observed import Doors, EndpointObjects, View, by_endpoint, observed
from reconciler.platforms.kubernetes.pending import Cluster
from reconciler.platforms.kubernetes.route import Line, route
from reconciler.platforms.kubernetes.workload import workload
from tests.unit.kubernetes.made import ADDRESS, GATEWAY, SLOT, brought, options, place, pod, release

VIEW = View(
    GATEWAY,
    "controller",
    Cluster(),
    Doors(lambda ns, p: f"http://{ns}/{p['metadata']['name']}", lambda n, s: f"http://{n}/{s}"),
)


def slot_a(held: Release | None = None, *, replicas: int = 1, warm: str = "") -> dict[str, Any]:
    body = workload(SLOT, brought(held), options(), place(), replicas=replicas, fence=1)
    body["metadata"]["annotations"][marks.WARM] = warm
    return body


def weighed(a: float, b: float, held: Release | None = None) -> dict[str, Any]:
    texts = {"a": marks.release_text(held)} if held else {}
    return route(ADDRESS, "support-prod", GATEWAY, Line({"a": a, "b": b}, {}, texts), fence=1)


def seen(*workloads: dict[str, Any], pods: Any = (), routes: Any = ()) -> ObservedEndpoint:
    found = by_endpoint(workloads, pods, routes)
    return observed(ADDRESS, found.get("chat", EndpointObjects()), VIEW)


def test_nothing_is_an_empty_endpoint() -> None:
    found = seen()
    assert found.weights == {"a": 0.0, "b": 0.0}
    assert all(slot.release is None and slot.problem is None for slot in found.slots.values())


def test_a_slot_has_its_release_its_weight_and_its_servers() -> None:
    pods = [pod("chat-a-2", ready=True), pod("chat-a-1", ready=True, restartCount=2)]
    found = seen(slot_a(replicas=2, warm="chat-a-2:0"), pods=pods, routes=[weighed(90, 10)])
    slot = found.slots["a"]
    assert (slot.release, slot.wanted, slot.ready_count, slot.weight_pct) == (release(), 2, 2, 90.0)
    assert [(r.name, r.warm, r.restarts) for r in slot.replicas] == [("chat-a-1", False, 2), ("chat-a-2", True, 0)]
    assert slot.replicas[0].url == "http://support-prod/chat-a-1"
    assert slot.url == "http://support-prod/chat-a"
    assert slot.problem is None


def test_servers_of_a_release_that_was_there_before_are_not_the_slots() -> None:
    found = seen(slot_a(release("two")), pods=[pod(of=release("one"), ready=True)]).slots["a"]
    assert not found.ready
    assert [r.state for r in found.replicas] == [ServerState.STARTING]


def test_servers_that_have_no_pod_yet_are_starting_and_say_why() -> None:
    body = slot_a(replicas=2)
    message = 'pods "x" is forbidden: exceeded quota: gpus'
    body["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": message}]}
    found = seen(body, pods=[pod(ready=True)]).slots["a"]
    assert [r.state for r in found.replicas] == [ServerState.READY, ServerState.STARTING]
    assert "quota is used up" in (found.problem or "")


def test_a_slot_that_is_being_emptied_runs_nothing() -> None:
    body, going = slot_a(), pod(ready=True)
    for each in (body, going):
        each["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    found = seen(body, pods=[going]).slots["a"]
    assert (found.release, found.running, found.ready, found.wanted) == (release(), False, False, 0)


def test_a_deployment_that_somebody_deleted_is_gone_and_its_release_is_known() -> None:
    found = seen(routes=[weighed(100, 0, release())]).slots["a"]
    assert (found.release, found.running, found.weight_pct) == (release(), False, 100.0)
    assert "deleted by somebody else" in (found.problem or "")


def test_weight_on_what_nobody_knows_is_damage() -> None:
    found = seen(routes=[weighed(100, 0)]).slots["a"]
    assert (found.release, found.weight_pct) == (None, 100.0)
    assert found.damage


def test_a_note_that_was_changed_is_damage_and_so_is_a_stranger() -> None:
    changed = slot_a()
    notes = changed["metadata"]["annotations"]
    notes[marks.RELEASE] = notes[marks.RELEASE].replace("mlflow:one/1", "mlflow:two/1")
    assert "was changed" in (seen(changed).slots["a"].damage or "")
    strange = slot_a()
    strange["metadata"]["annotations"] = {}
    assert "did not make" in (seen(strange).slots["a"].damage or "")


def test_a_gateway_that_refuses_the_route_passes_nothing() -> None:
    body = weighed(100, 0, release())
    no = {"type": "Accepted", "status": "False", "message": "not allowed by the listener"}
    parent = {"name": GATEWAY.name, "namespace": GATEWAY.namespace}
    body["status"] = {"parents": [{"parentRef": parent, "controllerName": "controller", "conditions": [no]}]}
    assert "not allowed by the listener" in (seen(routes=[body]).gateway_problem or "")
