"""Every field of a change: what differs, from what to what, and what it takes to move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from environments.names import Address
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ObservedState
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy, change_to_json
from reconciler.core.plan.diff import diff, narrowed
from tests.support.builders.releases import changed as changed_slot
from tests.support.builders.releases import desired, endpoint, release, rollout

A, B = release("one", prompt="p1"), release("two", prompt="p2")
SERVING_A = endpoint({"a": (A, 100.0), "b": (B, 0.0)})
FROM_A_TO_B = (
    FieldChange("model", "file:models/one (one)", "file:models/two (two)"),
    FieldChange("prompts.system", "file:p1 (p1)", "file:p2 (p2)"),
)


def only(
    live: ObservedEndpoint | None, wanted: Release | None, active: Mapping[str, Rollout] | None = None
) -> tuple[str, str, tuple[FieldChange, ...]]:
    declared = desired(wanted or A)
    state = ObservedState({live.address: live} if live else {})
    [change] = diff(declared if wanted else replace(declared, endpoints=()), state, active)
    assert str(change.address) == "test/local/chat"
    assert change.release == (wanted.id if wanted else None)
    return change.action, change.moves_by, change.fields


def changed(live: ObservedEndpoint, slot: str, **facts: object) -> ObservedEndpoint:
    return replace(live, slots={**live.slots, slot: changed_slot(live.slots[slot], **facts)})


def test_what_serves_as_declared_needs_nothing() -> None:
    assert only(SERVING_A, A) == ("none", "pointer", ())


def test_a_first_deployment_shows_all_that_comes() -> None:
    came = tuple(FieldChange(path, None, text) for path, text in A.fields().items())
    assert only(None, A) == ("create", "cold_load", came)
    assert only(endpoint({"a": (A, 0.0), "b": (None, 0.0)}), A) == ("create", "weight", came)


@pytest.mark.parametrize(
    ("slot", "moves_by"),
    [
        ({}, "weight"),
        ({"warm": False}, "warm_load"),
        ({"ready": False}, "cold_load"),
        ({"running": False}, "cold_load"),
        ({"fatal": True}, "cold_load"),
        ({"release": None}, "cold_load"),
    ],
)
def test_a_rollout_shows_what_differs_and_moves_by_what_is_there(slot: dict[str, object], moves_by: str) -> None:
    assert only(changed(SERVING_A, "b", **slot), B) == ("rollout", moves_by, FROM_A_TO_B)


def test_a_slot_that_serves_what_nobody_knows_is_replaced() -> None:
    unknown = changed(SERVING_A, "a", release=None)
    assert only(unknown, A) == ("rollout", "cold_load", tuple(FieldChange(p, None, t) for p, t in A.fields().items()))


@pytest.mark.parametrize(
    ("live", "moves_by", "fields"),
    [
        (replace(SERVING_A, prompts={}), "pointer", [("prompts.system", None, f"{A.id} 100 %")]),
        (replace(SERVING_A, prompts={"system": ((A.id, 100.0),), "left": ((B.id, 99.5), (A.id, 0.5))}), "pointer",
         [("prompts.left", f"{B.id} 99.5 %, {A.id} 0.5 %", None)]),
        (replace(SERVING_A, gateway_problem="gone"), "weight", [("gateway", "gone", "serving")]),
        (changed(changed(SERVING_A, "a", weight_pct=90.0), "b", weight_pct=10.0), "weight",
         [("slots.a.weight_pct", "90", "100"), ("slots.b.weight_pct", "10", "0")]),
        (changed(SERVING_A, "a", ready=False, problem="crashed"), "cold_load", [("slots.a.ready", "crashed", "ready")]),
        (replace(changed(SERVING_A, "a", ready=False), prompts={}, gateway_problem="gone"), "cold_load",
         [("gateway", "gone", "serving"), ("prompts.system", None, f"{A.id} 100 %"),
          ("slots.a.ready", "its server is silent", "ready")]),
    ],
    ids=["no prompt", "a prompt too many", "no gateway", "weights astray", "crashed", "everything"],
)  # fmt: skip
def test_what_is_put_right(
    live: ObservedEndpoint, moves_by: str, fields: list[tuple[str, str | None, str | None]]
) -> None:
    assert only(live, A) == ("update", moves_by, tuple(FieldChange(*each) for each in fields))


def test_a_rollout_in_flight_is_told_whatever_the_weights_are() -> None:
    going = replace(rollout(B, {"local": SERVING_A}), phase=Phase.SHIFTING)
    on_its_way = FieldChange("rollout", "r1 shifting", "promoted")
    assert only(SERVING_A, B, {"chat": going}) == ("rollout", "weight", (on_its_way, *FROM_A_TO_B))
    arrived = endpoint({"a": (A, 0.0), "b": (B, 100.0)})
    assert only(arrived, B, {"chat": going}) == ("rollout", "weight", (on_its_way,))
    first = (on_its_way, *(FieldChange(path, None, text) for path, text in B.fields().items()))
    assert only(None, B, {"chat": going}) == ("rollout", "cold_load", first)
    left = FieldChange("rollout", "r1 shifting", "rolled_back: the file has moved on")
    assert only(SERVING_A, A, {"chat": going}) == ("rollout", "weight", (left,))


def test_a_rollout_elsewhere_is_none_here() -> None:
    elsewhere = rollout(B, {"other": endpoint({"a": (A, 100.0), "b": (None, 0.0)}, region="other")})
    assert only(SERVING_A, A, {"chat": elsewhere}) == ("none", "pointer", ())
    assert only(SERVING_A, A, {"code": rollout(B, {"local": SERVING_A})}) == ("none", "pointer", ())


def test_what_is_no_longer_declared_goes_with_all_that_it_has() -> None:
    went = tuple(FieldChange(path, text, None) for path, text in A.fields().items())
    assert only(SERVING_A, None) == ("remove", "weight", went)
    idle = changed(SERVING_A, "a", weight_pct=0.0)
    assert only(idle, None) == ("remove", "weight", (FieldChange("endpoint", "present", None),))
    unknown = changed(endpoint({"a": (None, 0.0), "b": (None, 0.0)}), "a", weight_pct=100.0)
    assert only(unknown, None) == ("remove", "weight", (FieldChange("endpoint", "present", None),))
    flags = replace(endpoint({"a": (None, 0.0), "b": (None, 0.0)}), prompts={"system": ((A.id, 100.0),)})
    assert only(flags, None)[0] == "remove"


def test_an_empty_endpoint_is_not_there() -> None:
    empty = endpoint({"a": (None, 0.0), "b": (None, 0.0)})
    assert diff(replace(desired(A), endpoints=()), ObservedState({empty.address: empty})) == ()


def test_changes_are_sorted_by_address() -> None:
    gone = endpoint({"a": (A, 100.0), "b": (None, 0.0)}, region="a-region")
    changes = diff(desired(A, regions=("west", "east")), ObservedState({gone.address: gone}))
    assert [(c.address.region, c.action) for c in changes] == [
        ("a-region", Action.REMOVE),
        ("east", Action.CREATE),
        ("west", Action.CREATE),
    ]


def test_a_change_as_json() -> None:
    change = Change(Address("test", "local", "chat"), Action.ROLLOUT, FROM_A_TO_B[:1], MovesBy.WEIGHT, B.id)
    assert change_to_json(change) == {
        "address": "test/local/chat",
        "action": "rollout",
        "fields": [{"path": "model", "from": "file:models/one (one)", "to": "file:models/two (two)"}],
        "moves_by": "weight",
        "release": B.id,
    }


def test_a_narrower_look_leaves_the_rest_out() -> None:
    seen = {
        Address("test", region, name): ObservedEndpoint(Address("test", region, name), {"a": ObservedSlot()})
        for region in ("east", "west")
        for name in ("chat", "code")
    }
    state = ObservedState(seen, {"south": "no answer"})

    def left(endpoints: set[str], regions: set[str]) -> list[str]:
        narrow = narrowed(state, frozenset(endpoints), frozenset(regions))
        assert narrow.unreachable == {"south": "no answer"}
        assert all(narrow.endpoints[a] == seen[a] for a in narrow.endpoints)
        return [f"{a.region}/{a.endpoint}" for a in narrow.endpoints]

    assert len(left(set(), set())) == 4
    assert left({"chat"}, set()) == ["east/chat", "west/chat"]
    assert left(set(), {"west"}) == ["west/chat", "west/code"]
    assert left({"chat"}, {"west"}) == ["west/chat"]
