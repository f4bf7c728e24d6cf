"""What counts as drift: weights, prompts, and what carries traffic; never what lies in a slot without any."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ObservedState, endpoint_facts
from reconciler.core.plan.drift import Drift, drift, drift_to_json, facts_that_moved
from tests.support.builders.releases import endpoint, release

A, B = release("one", prompt="p1"), release("two", prompt="p2")
RECORDED = endpoint({"a": (A, 100.0), "b": (B, 0.0)})
WHERE = "test/local/chat"


def found(
    live: ObservedEndpoint | None, recorded: ObservedEndpoint = RECORDED
) -> list[tuple[str, str | None, str | None]]:
    state = ObservedState({live.address: live} if live else {})
    told = drift({recorded.address: endpoint_facts(recorded)}, state)
    assert all(each.address == WHERE for each in told)
    return [(each.path, each.recorded, each.live) for each in told]


def test_the_same_world_has_not_drifted() -> None:
    assert found(RECORDED) == []


def test_weights_and_what_serves_are_drift() -> None:
    assert found(endpoint({"a": (A, 100.0), "b": (None, 0.0)})) == []
    half = replace(endpoint({"a": (A, 50.0), "b": (B, 50.0)}), prompts=RECORDED.prompts)
    assert found(half) == [
        ("slots.a.weight_pct", "100", "50"),
        ("slots.b.weight_pct", "0", "50"),
    ]
    other = replace(endpoint({"a": (B, 100.0), "b": (B, 0.0)}, ready=False), prompts=RECORDED.prompts)
    assert found(other) == [("slots.a.ready", "True", "False"), ("slots.a.release", A.id, B.id)]


def test_what_serves_now_beside_what_was_recorded_is_drift() -> None:
    live = replace(RECORDED, slots={**RECORDED.slots, "b": ObservedSlot(weight_pct=0.5)})
    assert found(live) == [
        ("slots.b.ready", "True", "False"),
        ("slots.b.release", B.id, None),
        ("slots.b.weight_pct", "0", "0.5"),
    ]


def test_prompts_are_drift() -> None:
    shared = replace(RECORDED, prompts={"system": ((A.id, 99.5), (B.id, 0.5))})
    assert found(shared) == [("prompts.system", f"{A.id} 100.0", f"{A.id} 99.5, {B.id} 0.5")]


def test_an_endpoint_that_is_gone_has_drifted_in_all_that_it_carried() -> None:
    assert found(None) == [
        ("prompts.system", f"{A.id} 100.0", None),
        ("slots.a.ready", "True", None),
        ("slots.a.release", A.id, None),
        ("slots.a.weight_pct", "100", None),
        ("slots.b.weight_pct", "0", None),
    ]


def test_differences_are_sorted_by_address_and_path() -> None:
    east, west = (endpoint({"a": (A, 100.0), "b": (None, 0.0)}, region=region) for region in ("east", "west"))
    told = drift({each.address: endpoint_facts(each) for each in (west, east)}, ObservedState())
    assert [each.address for each in told] == ["test/east/chat"] * 5 + ["test/west/chat"] * 5
    assert told == tuple(sorted(told))


def test_a_saved_plans_world_is_compared_leaf_by_leaf() -> None:
    before, after = (
        {"address": "x", "n": 1.0, "gone": "g", "list": [1, [2, "b"]], "none": None},
        {"address": "y", "n": 2},
    )
    assert facts_that_moved("w", before, after) == [
        Drift("w", "gone", "g", None),
        Drift("w", "list", "1, 2 b", None),
        Drift("w", "n", "1", "2"),
    ]
    assert drift_to_json(Drift("w", "n", "1", None)) == {"address": "w", "path": "n", "recorded": "1", "live": None}
