"""What a status says of prompts: the reference that users get, not which release brought it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from environments.names import Address
from reconciler.core.model.observed import ObservedState
from reconciler.core.model.rollout import GateResult, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.plan.retire import KeptSlot
from reconciler.core.status import status_json
from tests.support.builders.releases import changed, endpoint, release, rollout

OLD, NEW, OTHER = release("v1", prompt="p1"), release("v2", prompt="p1"), release("v3", prompt="p2")


def prompts(first: tuple[str, float], second: tuple[str, float]) -> object:
    held = {"a": (OLD, first[1]), "b": (NEW if second[0] == NEW.id else OTHER, second[1])}
    seen = replace(endpoint(held), prompts={"system": (first, second)})
    found = status_json("test", [], ObservedState({seen.address: seen}, {}), active={}, owners={}, gaps=[])
    return found["endpoints"][0]["prompts"]


def test_two_releases_with_the_same_prompt_give_all_users_that_prompt() -> None:
    assert prompts((OLD.id, 50.0), (NEW.id, 50.0)) == {"system": {"ref": "file:p1", "weight_pct": 100.0}}


def test_two_prompts_are_told_by_the_larger_share() -> None:
    assert prompts((OLD.id, 30.0), (OTHER.id, 70.0)) == {"system": {"ref": "file:p2", "weight_pct": 70.0}}


def test_urls_are_told_where_there_are_any() -> None:
    here, there = (Address("test", region, "chat") for region in ("here", "there"))
    found = status_json(
        "test", [here, there], ObservedState({}, {}), active={}, owners={}, gaps=[], urls={here: "http://x"}
    )
    assert [each["url"] for each in found["endpoints"]] == ["http://x", None]


def test_a_status_tells_every_fact_of_an_endpoint_and_its_rollout() -> None:
    live = replace(
        endpoint({"a": (OLD, 90.0), "b": (OTHER, 10.0)}), prompts={"system": ((OLD.id, 90.0), (OTHER.id, 10.0))}
    )
    live = replace(
        live,
        gateway_problem="gone",
        slots={**live.slots, "b": changed(live.slots["b"], ready=False, started=True, problem="slow")},
    )
    begun = rollout(OTHER, {"local": endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})})
    gate = GateResult("eval", Verdict.PASS, "better", links=("one.html", "two.html"))
    part = replace(begun.regions[0], phase=Phase.SHIFTING, step=1, verdict=Verdict.PASS, reason="so far", gates=(gate,))
    going = replace(begun.with_region(part), reason="by hand")

    def told(active: Rollout) -> dict[str, Any]:
        state = ObservedState({live.address: live})
        active_of, owners = {"chat": active}, {"chat": "ada"}
        found = status_json("test", [live.address], state, active=active_of, owners=owners, gaps=["no alerts"])
        assert list(found) == ["environment", "endpoints", "gaps"]
        assert (found["environment"], found["gaps"]) == ("test", ["no alerts"])
        [only] = found["endpoints"]
        return dict(only)

    one = {"wanted": 1, "ready": 1}
    slot = {"ready": True, "warm": True, "problem": None, "replicas": one, "warm_until": None}
    slow = {**slot, "ready": False, "problem": "slow", "replicas": {**one, "ready": 0}}
    in_flight = {
        "id": "r1", "release": OTHER.id, "phase": "shifting", "step": 1, "weight_pct": 10.0, "verdict": "PASS",
        "reason": "so far", "owner": "ada", "reports": ["one.html", "two.html"], "started_at": 0.0,
    }  # fmt: skip
    assert told(going) == {
        "address": "test/local/chat",
        "serving": OLD.id,
        "slots": {
            "a": {"release": OLD.id, "weight_pct": 90.0, **slot},
            "b": {"release": OTHER.id, "weight_pct": 10.0, **slow},
        },
        "prompts": {"system": {"ref": "file:p1", "weight_pct": 90.0}},
        "gateway_problem": "gone",
        "rollout": in_flight,
        "url": None,
    }
    quiet = replace(going.with_region(replace(part, verdict=None, reason="")), phase=Phase.PAUSED)
    assert told(quiet)["rollout"] == in_flight | {"phase": "paused", "verdict": None, "reason": "by hand"}
    assert told(replace(going, regions=(replace(part, region="other"),)))["rollout"] is None


def test_what_is_declared_or_live_is_told_in_the_order_of_addresses() -> None:
    live, declared = endpoint({"a": (None, 0.0), "b": (None, 0.0)}, region="b"), Address("test", "a", "chat")
    found = status_json("test", [declared], ObservedState({live.address: live}), active={}, owners={}, gaps=())
    assert [each["address"] for each in found["endpoints"]] == ["test/a/chat", "test/b/chat"]
    assert [(each["serving"], each["rollout"], sorted(each["slots"])) for each in found["endpoints"]] == [
        (None, None, ["a", "b"])
    ] * 2


def test_a_prompt_of_a_release_that_is_in_no_slot_is_told_by_the_releases_id() -> None:
    assert prompts((OLD.id, 40.0), ("chat-gone", 60.0)) == {"system": {"ref": "chat-gone", "weight_pct": 60.0}}


def test_a_slot_that_is_kept_warm_says_until_when() -> None:
    seen = endpoint({"a": (OLD, 0.0), "b": (NEW, 100.0)})
    kept = [KeptSlot(seen.address, "a", OLD.id, 1_000_000.0)]
    found = status_json("test", [], ObservedState({seen.address: seen}), active={}, owners={}, gaps=[], kept=kept)
    told = {name: slot["warm_until"] for name, slot in found["endpoints"][0]["slots"].items()}
    assert told == {"a": "1970-01-12T13:46:40.000Z", "b": None}
