"""The ideal world: what each step makes of it, and what comes back by itself before the first one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.rollout import Phase, Trouble
from reconciler.core.rollout.ideal import happened, ideal_run, ideal_steps
from reconciler.core.rollout.next_steps import leaving_steps
from reconciler.core.rollout.steps import (
    Enter,
    Finish,
    Pause,
    Publish,
    Remove,
    RunGate,
    SetAlias,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    Wait,
    WarmSlot,
    step_kind,
)
from tests.support.builders.releases import SETTINGS, changed, endpoint, release, rollout, slot

OLD, NEW = release("old"), release("new", prompt="p")
EMPTY = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})
HALF = replace(endpoint({"a": (OLD, 50.0), "b": (NEW, 50.0)}), gateway_problem="gone", pointer_problem="damaged")
GOING = rollout(NEW, {"local": EMPTY})


def slots(live: ObservedEndpoint, **changed: ObservedSlot) -> ObservedEndpoint:
    return replace(live, slots={**live.slots, **changed})


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (StartSlot("local", "b", NEW.id), slots(HALF, b=slot(NEW, ready=True, weight_pct=50.0, url=None))),
        (StartSlot("local", "a", OLD.id, role="champion"),
         slots(HALF, a=slot(OLD, ready=True, weight_pct=50.0, url=None))),
        (WarmSlot("local", "b", 3), slots(HALF, b=changed(HALF.slots["b"], warm=True))),
        (StopSlot("local", "b"), slots(HALF, b=ObservedSlot())),
        (SetWeights("local", (("a", 10.0), ("b", 90.0)), 90.0),
         replace(slots(HALF, a=replace(HALF.slots["a"], weight_pct=10.0), b=replace(HALF.slots["b"], weight_pct=90.0)),
                 gateway_problem=None)),
        (SetWeights("local", (("c", 100.0),), 100.0),
         replace(slots(HALF, c=ObservedSlot(weight_pct=100.0)), gateway_problem=None)),
        (Publish("local", 30.0),
         replace(HALF, prompts={"system": ((NEW.id, 30.0), (OLD.id, 70.0))}, pointer_problem=None)),
        (Remove("local"), ObservedEndpoint(HALF.address, {"a": ObservedSlot(), "b": ObservedSlot()})),
        (Enter("local", Phase.BAKING), HALF),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_what_a_step_makes_of_the_world(step: Step, wanted: ObservedEndpoint) -> None:
    beside = endpoint({"a": (OLD, 100.0)}, region="beside")
    cold = slots(HALF, b=changed(HALF.slots["b"], warm=False)) if isinstance(step, WarmSlot) else HALF
    assert happened({"local": cold, "beside": beside}, GOING, step) == {"local": wanted, "beside": beside}


def kinds(steps: tuple[Step, ...]) -> list[str]:
    return [step_kind(s) for s in steps]


def test_a_whole_way_in_order_and_what_is_live_at_its_end() -> None:
    how = replace(SETTINGS, steps_pct=(10.0,), gates={"eval": {"suite": "x"}})
    steps, world = ideal_run(rollout(NEW, {"local": EMPTY}, settings=how), {"local": EMPTY})
    assert kinds(steps) == [
        "enter:preparing", "start", "warm", "enter:gating", "gate:eval", "enter:shifting", "weigh", "publish",
        "enter:baking", "weigh", "publish", "enter:promoted", "mark", "finish",
    ]  # fmt: skip
    assert steps[-2] == SetAlias(NEW.model.ref, ("champion", "champion-test-chat"))
    assert isinstance(steps[-1], Finish)
    assert steps[-1].phase is Phase.PROMOTED
    assert RunGate("local", "eval") in steps
    live = world["local"]
    assert live.weights == {"a": 0.0, "b": 100.0}
    assert live.slots["b"] == slot(NEW, ready=True, warm=True, weight_pct=100.0, url=None)
    assert live.slots["a"] == replace(EMPTY.slots["a"], weight_pct=0.0)
    assert live.prompts == {"system": ((NEW.id, 100.0),)}
    assert ideal_steps(rollout(NEW, {"local": EMPTY}, settings=how), {"local": EMPTY}) == steps


def test_a_region_that_was_never_seen_is_empty() -> None:
    going = rollout(NEW, {"local": endpoint({"a": (None, 0.0), "b": (None, 0.0)})})
    steps, world = ideal_run(going, {})
    assert kinds(steps)[1:3] == ["start", "warm"]
    assert world["local"].serving == "a"


def test_servers_that_come_back_by_themselves_are_not_started() -> None:
    loading = slots(EMPTY, b=slot(NEW, fatal=True, restarts=9))
    assert kinds(ideal_steps(GOING, {"local": loading}))[:3] == ["enter:preparing", "warm", "enter:gating"]
    was_warm = slots(EMPTY, b=slot(NEW, warm=True))
    assert kinds(ideal_steps(GOING, {"local": was_warm}))[:2] == ["enter:preparing", "warm"]
    warm = slots(EMPTY, b=slot(NEW, ready=True, warm=True))
    assert kinds(ideal_steps(GOING, {"local": warm}))[:2] == ["enter:preparing", "enter:gating"]
    dead = slots(EMPTY, b=slot(NEW, running=False))
    assert kinds(ideal_steps(GOING, {"local": dead}))[:2] == ["enter:preparing", "start"]


def test_where_even_an_ideal_world_needs_a_person_the_steps_end_with_a_pause() -> None:
    first = rollout(NEW, {"local": endpoint({"a": (None, 0.0), "b": (None, 0.0)})})
    taken = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})
    steps, world = ideal_run(first, {"local": taken})
    assert kinds(steps) == ["enter:preparing", "pause"]
    assert isinstance(steps[-1], Pause)
    assert world["local"].weights == {"a": 100.0, "b": 0.0}


SETTLED = Wait("local", "left as it is", settled=True)


@pytest.mark.parametrize("phase", ["preparing", "gating", "shifting", "baking", "rolling_back"])
def test_an_owner_that_leaves_gives_the_traffic_back(phase: str) -> None:
    going = GOING.with_region(replace(GOING.regions[0], phase=Phase(phase)))
    half = replace(endpoint({"a": (OLD, 50.0), "b": (NEW, 50.0)}), prompts={})
    assert leaving_steps(going, "local", half, 5.0) == (SetWeights("local", (("a", 100.0), ("b", 0.0)), 0.0), SETTLED)
    assert leaving_steps(going, "local", EMPTY, 5.0) == (SETTLED,)
    assert leaving_steps(going, "local", None, 5.0) == (SETTLED,)


def test_an_owner_that_leaves_does_not_wait_for_what_has_failed_before() -> None:
    trouble = Trouble("weigh", 2, "PLAT-010", "no answer", retryable=True, retry_at=9.0)
    going = GOING.with_region(replace(GOING.regions[0], phase=Phase.SHIFTING, trouble=trouble))
    half = endpoint({"a": (OLD, 50.0), "b": (NEW, 50.0)})
    assert leaving_steps(going, "local", half, 5.0) == (SETTLED,)
    assert isinstance(leaving_steps(going, "local", half, 9.0)[0], SetWeights)


@pytest.mark.parametrize("phase", ["pending", "promoted", "rolled_back", "failed"])
def test_where_nothing_is_under_way_everything_is_left_as_it_is(phase: str) -> None:
    going = GOING.with_region(replace(GOING.regions[0], phase=Phase(phase)))
    half = endpoint({"a": (OLD, 50.0), "b": (NEW, 50.0)})
    assert leaving_steps(going, "local", half, 5.0) == (SETTLED,)
    assert leaving_steps(replace(going, phase=Phase.PROMOTED), "local", half, 5.0) == (SETTLED,)
