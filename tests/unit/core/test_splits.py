"""How a split is put in force and when it is: weights and prompts, to half a step of whoever holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.core.rollout.steps import Publish, SetWeights
from reconciler.core.rollout.traffic_split import converge, drawn_releases, same_prompts, same_weights, wanted_prompts
from tests.support.builders.releases import endpoint, release, rollout

OLD, NEW = release("old", prompt="p1"), release("new", prompt="p2")
BEFORE = endpoint({"a": (OLD, 100.0), "b": (NEW, 0.0)})
GOING = rollout(NEW, {"local": endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})})
PART = GOING.regions[0]
FIRST = rollout(NEW, {"local": endpoint({"a": (None, 0.0), "b": (None, 0.0)})})


def seen(weight: float, **facts: object) -> ObservedEndpoint:
    """Return an endpoint that gives the challenger so much traffic, and publishes prompts in the same way."""
    live = endpoint({"a": (OLD, 100.0 - weight), "b": (NEW, weight)})
    shares = ((NEW.id, weight), (OLD.id, 100.0 - weight))
    return replace(live, prompts={"system": shares}, **facts)  # type: ignore[arg-type]


def steps(live: ObservedEndpoint, pct: float, of: Rollout = GOING) -> list[SetWeights | Publish]:
    return converge(of, of.regions[0], live, pct)


def test_what_is_in_force_needs_no_step() -> None:
    assert steps(seen(25.0), 25.0) == []
    assert steps(BEFORE, 0.0) == []


def test_weights_come_before_prompts() -> None:
    assert steps(BEFORE, 25.0) == [SetWeights("local", (("a", 75.0), ("b", 25.0)), 25.0), Publish("local", 25.0)]
    assert steps(replace(seen(25.0), prompts={}), 25.0) == [Publish("local", 25.0)]


def test_a_gateway_or_prompts_that_are_gone_are_brought_back() -> None:
    weigh = SetWeights("local", (("a", 75.0), ("b", 25.0)), 25.0)
    assert steps(seen(25.0, gateway_problem="gone"), 25.0) == [weigh]
    assert steps(seen(25.0, pointer_problem="damaged"), 25.0) == [Publish("local", 25.0)]


def test_a_third_slot_gets_nothing_and_a_first_deployment_everything() -> None:
    third = replace(seen(25.0), slots={**seen(25.0).slots, "c": ObservedSlot(weight_pct=5.0)})
    weights = (("a", 75.0), ("b", 25.0), ("c", 0.0))
    assert steps(third, 25.0) == [SetWeights("local", weights, 25.0)]
    empty = endpoint({"a": (NEW, 0.0), "b": (None, 0.0)})
    assert steps(empty, 10.0, FIRST) == [
        SetWeights("local", (("a", 100.0), ("b", 0.0)), 100.0),
        Publish("local", 100.0),
    ]


def test_a_release_that_returns_to_its_own_slot_has_it_all() -> None:
    alone = replace(PART, champion_slot="b")
    of = GOING.with_region(alone)
    assert converge(of, alone, seen(50.0), 30.0)[0] == SetWeights("local", (("a", 0.0), ("b", 30.0)), 30.0)


@pytest.mark.parametrize(
    ("wanted", "live", "step", "same"),
    [
        (10.0, 10.0, 0.0, True),
        (10.0, 10.000001, 0.0, True),
        (10.0, 10.00001, 0.0, False),
        (10.0, 10.5, 1.0, True),
        (10.0, 9.5, 1.0, True),
        (10.0, 10.6, 1.0, False),
        (0.0, 0.4, 1.0, False),
        (100.0, 99.6, 1.0, False),
    ],
)
def test_shares_are_the_same_to_half_a_step_but_nothing_and_all_are_exact(
    wanted: float, live: float, step: float, same: bool
) -> None:
    slots = {"b": ObservedSlot(weight_pct=live)}
    assert same_weights({"b": wanted}, replace(BEFORE, slots=slots, weight_resolution_pct=step)) is same
    published = replace(BEFORE, prompts={"system": ((NEW.id, live),)}, prompt_resolution_pct=step)
    assert same_prompts({"system": ((NEW.id, wanted),)}, published) is same


def test_a_share_that_only_one_side_names_is_zero_on_the_other() -> None:
    assert not same_weights({}, BEFORE)
    assert same_weights({"a": 100.0, "b": 0.0, "c": 0.0}, BEFORE)
    assert not same_weights({"a": 100.0, "c": 5.0}, BEFORE)
    published = replace(BEFORE, prompts={"system": ((OLD.id, 100.0),)})
    assert same_prompts({"system": ((OLD.id, 100.0), (NEW.id, 0.0))}, published)
    assert not same_prompts({"system": ((NEW.id, 100.0),)}, published)
    assert not same_prompts({"other": ((OLD.id, 100.0),)}, published)
    assert not same_prompts({}, published)


def test_every_prompt_is_looked_at() -> None:
    both = {"a": ((OLD.id, 100.0),), "b": ((OLD.id, 50.0), (NEW.id, 50.0))}
    live = replace(BEFORE, prompts={"a": ((OLD.id, 100.0),), "b": ((OLD.id, 100.0),)})
    assert not same_prompts(both, live)


def test_one_draw_decides_model_and_prompts_of_a_user() -> None:
    assert drawn_releases(GOING, PART, 25.0) == ((NEW, 25.0), (OLD, 75.0))
    assert drawn_releases(GOING, PART, 0.0) == ((OLD, 100.0),)
    assert drawn_releases(GOING, PART, 100.0) == ((NEW, 100.0),)
    assert drawn_releases(FIRST, FIRST.regions[0], 10.0) == ((NEW, 100.0),)
    assert drawn_releases(GOING, replace(PART, champion=NEW), 10.0) == ((NEW, 100.0),)


def test_prompts_that_either_release_has_are_split_between_both() -> None:
    more = replace(OLD, prompts={**OLD.prompts, "extra": OLD.prompts["system"]})
    shares = ((NEW.id, 25.0), (more.id, 75.0))
    assert wanted_prompts(GOING, replace(PART, champion=more), 25.0) == {"extra": shares, "system": shares}
    assert list(wanted_prompts(GOING, replace(PART, champion=more), 25.0)) == ["extra", "system"]
    assert wanted_prompts(GOING, replace(PART, champion=more), 100.0) == {"system": ((NEW.id, 100.0),)}


def test_a_region_keeps_its_name_in_its_steps() -> None:
    elsewhere = RegionRollout("east", 0, "b", champion_slot="a", champion=OLD)
    assert [s.region for s in converge(GOING, elsewhere, BEFORE, 25.0)] == ["east", "east"]
