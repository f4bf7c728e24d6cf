"""An endpoint's route has the shape that fails no request, and its weights come back as they went in."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.route import Line, not_in_force, refused, route, says, stamped, weights_of
from tests.unit.kubernetes.made import ADDRESS, GATEWAY, release

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
IDS = {"a": "chat-1", "b": "chat-2"}


def made(weights: dict[str, float], *, fence: int = 3, **line: Any) -> dict[str, Any]:
    return route(ADDRESS, "support-prod", GATEWAY, Line(weights, IDS, answering=("a", "b"), **line), fence=fence)


def live(body: dict[str, Any], *, generation: int = 4, seen: int = 4, controller: str = CONTROLLER, **said: Any) -> Any:
    """Return a route as its controller has left it; `said` gives conditions that are not True."""
    names = {"Accepted": "True", "ResolvedRefs": "True"} | said
    conditions = [
        {"type": name, "status": status, "observedGeneration": seen, "message": f"{name} it is"}
        for name, status in names.items()
        if status
    ]
    parent = {
        "parentRef": {"name": GATEWAY.name, "namespace": GATEWAY.namespace, "sectionName": "https"},
        "controllerName": controller,
        "conditions": conditions,
    }
    metadata = {**body["metadata"], "generation": generation, "resourceVersion": "9"}
    return {**body, "metadata": metadata, "status": {"parents": [parent]}}


@given(st.floats(0, 100))
def test_weights_come_back(pct: float) -> None:
    found = weights_of(made({"a": pct, "b": 100 - pct}), "chat")
    assert abs(found["a"] - pct) < 0.001
    assert abs(sum(found.values()) - 100) < 1e-9


@given(st.floats(0, 100), st.booleans())
def test_no_backend_has_a_filter_and_no_time_limit_cuts_a_stream(pct: float, pins: bool) -> None:
    """A filter on a backendRef makes a cluster for each, which comes and goes with its weight: requests failed."""
    for rule in made({"a": pct, "b": 100 - pct}, pins=pins)["spec"]["rules"]:
        assert all("filters" not in ref for ref in rule["backendRefs"])
        assert rule["timeouts"] == {"request": "0s"}
        (rewrite,) = rule["filters"]
        assert rewrite["urlRewrite"]["path"]["replacePrefixMatch"] == "/"


BY_WEIGHT = "by weight"


def headers(body: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return which Service a header leads to; one that leads where the weights do changes nothing."""
    main, *others = body["spec"]["rules"]
    return {
        (h["name"], h["value"]): BY_WEIGHT
        if rule["backendRefs"] == main["backendRefs"]
        else rule["backendRefs"][0]["name"]
        for rule in others
        for h in rule["matches"][0]["headers"]
    }


@given(
    st.sampled_from([0.0, 1.0, 10.0, 50.0, 99.0, 100.0]),
    st.sampled_from([{}, {"a": "chat-1"}, {"b": "chat-2"}, IDS, {"a": "chat-1", "b": "chat-1"}]),
    st.sets(st.sampled_from("ab")),
    st.booleans(),
)
def test_no_rule_ever_changes_its_place(pct: float, ids: dict[str, str], answering: set[str], pins: bool) -> None:
    """Envoy Gateway names a rule's cluster by its place: requests failed while a new name was on its way."""
    line = Line({"a": 100 - pct, "b": pct}, ids, answering=answering, pins=pins)
    main, *others = route(ADDRESS, "n", GATEWAY, line, fence=1)["spec"]["rules"]
    assert "headers" not in main["matches"][0]
    asked = [rule["matches"][0]["headers"][0] for rule in others]
    assert [h["name"] for h in asked] == ["x-sluice-release"] * 2 + ["x-sluice-slot"] * 2 * pins
    assert len({(h["name"], h["value"]) for h in asked}) == len(asked)
    for slot, rule in zip("ab", others, strict=False):
        alone = [ref["name"] for ref in rule["backendRefs"]] == [f"chat-{slot}"]
        assert alone or rule["backendRefs"] == main["backendRefs"]


def test_a_request_may_name_a_release_that_has_a_share_and_no_other() -> None:
    assert headers(made({"a": 90, "b": 10})) == {
        ("x-sluice-release", "chat-1"): "chat-a",
        ("x-sluice-release", "chat-2"): "chat-b",
    }
    assert headers(made({"a": 100, "b": 0})) == {
        ("x-sluice-release", "chat-1"): "chat-a",
        ("x-sluice-release", "chat-2"): BY_WEIGHT,
    }


def test_a_slot_is_named_only_where_the_region_allows_it_and_it_answers() -> None:
    assert ("x-sluice-slot", "b") not in headers(made({"a": 100, "b": 0}))
    assert headers(made({"a": 100, "b": 0}, pins=True))["x-sluice-slot", "b"] == "chat-b"
    line = Line({"a": 100.0, "b": 0.0}, IDS, answering=("a",), pins=True)
    assert headers(route(ADDRESS, "n", GATEWAY, line, fence=1))["x-sluice-slot", "b"] == BY_WEIGHT


def test_it_remembers_the_releases_that_have_weight() -> None:
    held = release()
    texts = dict.fromkeys("ab", marks.release_text(held))
    body = route(ADDRESS, "n", GATEWAY, Line({"a": 100.0, "b": 0.0}, IDS, texts), fence=1)
    assert {slot: marks.release_of(text) for slot, text in marks.serving_texts(body).items()} == {"a": held}


def test_it_says_what_is_wanted_with_defaults_that_others_wrote() -> None:
    wanted = made({"a": 90, "b": 10})
    answered = live(made({"a": 90, "b": 10}))
    for ref in answered["spec"]["rules"][-1]["backendRefs"]:
        ref["group"] = ""
    assert says(answered, wanted)
    assert not says(answered, made({"a": 91, "b": 9}))
    assert not says(answered, made({"a": 90, "b": 10}, fence=4))
    assert not says(None, wanted)


def test_it_is_in_force_when_its_controller_has_seen_this_generation() -> None:
    body = made({"a": 90, "b": 10})
    assert not_in_force(live(body), GATEWAY, CONTROLLER) is None
    assert "has not seen" in (not_in_force(live(body, seen=3), GATEWAY, CONTROLLER) or "")
    assert "has not seen" in (not_in_force(live(body, ResolvedRefs=""), GATEWAY, CONTROLLER) or "")
    assert "has not taken" in (not_in_force(live(body, controller="other"), GATEWAY, CONTROLLER) or "")
    assert "has not taken" in (not_in_force(body | {"status": {}}, GATEWAY, CONTROLLER) or "")
    assert "ResolvedRefs it is" in (not_in_force(live(body, ResolvedRefs="False"), GATEWAY, CONTROLLER) or "")
    assert "no server" in (not_in_force(live(body, BackendsAvailable="False"), GATEWAY, CONTROLLER) or "")
    assert "not there" in (not_in_force(None, GATEWAY, CONTROLLER) or "")


def test_a_slot_without_servers_is_no_fault_of_the_gateway() -> None:
    body = made({"a": 90, "b": 10})
    assert refused(live(body, BackendsAvailable="False"), GATEWAY, CONTROLLER) is None
    assert "Accepted it is" in (refused(live(body, Accepted="False"), GATEWAY, CONTROLLER) or "")


def test_another_token_changes_nothing_else_and_only_this_version() -> None:
    before = live(made({"a": 90, "b": 10}))
    after = stamped(before, 8)
    assert marks.fence_of(after) == 8
    assert after["spec"] == before["spec"]
    assert after["metadata"]["resourceVersion"] == "9"
    assert "status" not in after
