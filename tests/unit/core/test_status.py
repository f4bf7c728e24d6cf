"""What a status says of prompts: the reference that users get, not which release brought it."""

from __future__ import annotations

from dataclasses import replace

from environments.names import Address
from reconciler.core.model.observed import ObservedState
from reconciler.core.status import status_json
from tests.support.releases import endpoint, release

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
