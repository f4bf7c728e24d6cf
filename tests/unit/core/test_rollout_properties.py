"""Whatever happens to it, a rollout keeps its rules; and it always ends or asks a person."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.rollout import Intent, Phase
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.model.verdict import Verdict
from reconciler.core.plan.change import Action
from reconciler.core.plan.diff import diff
from tests.support.builders.releases import SETTINGS, desired, endpoint, release, rollout
from tests.unit.core.random_world import EVENTS, FAULTS, HANDS, Turn, Walk

OLD, NEW = release("old", prompt="p1"), release("new", prompt="p2")
GATED = replace(SETTINGS, gates={"eval": {"suite": "x"}}, start_timeout_s=100)
VERDICTS = st.sampled_from(list(Verdict))
TURN = st.builds(
    Turn,
    event=st.sampled_from(EVENTS),
    between=st.sampled_from(("nothing", *HANDS, *FAULTS)),
    region=st.integers(0, 2),
    seconds=st.integers(1, 20),
    canary=VERDICTS,
    bake=VERDICTS,
    gate=VERDICTS,
    looks=st.integers(0, 2),
    leaning=st.booleans(),
)
QUIET = Turn("nothing", "nothing", 0, 1, Verdict.PASS, Verdict.PASS, Verdict.PASS, looks=1, leaning=False)


def walk(regions: int = 1, *, first: bool = False, how: RolloutSettings = GATED) -> Walk:
    slots = {"a": (None, 0.0), "b": (None, 0.0)} if first else {"a": (OLD, 100.0), "b": (None, 0.0)}
    world = {name: endpoint(slots, region=name) for name in ["r1", "r2", "r3"][:regions]}
    return Walk(rollout(NEW, world, settings=how), world)


@settings(max_examples=500, deadline=None)
@given(
    turns=st.lists(TURN, max_size=60),
    regions=st.integers(1, 3),
    first=st.booleans(),
    inconclusive=st.sampled_from(["pause", "roll_back", "promote"]),
    strategy=st.sampled_from(["canary", "blue_green"]),
)
def test_no_turn_of_events_breaks_a_rule(turns, regions, first, inconclusive, strategy) -> None:  # type: ignore[no-untyped-def]
    way = walk(regions, first=first, how=replace(GATED, on_inconclusive=inconclusive, strategy=strategy))
    for turn in turns:
        way.take(turn)
    way.ends_or_asks(QUIET)


@settings(max_examples=300, deadline=None)
@given(turns=st.lists(TURN, max_size=40), regions=st.integers(1, 3), first=st.booleans())
def test_when_all_is_well_again_one_release_serves_everywhere(turns, regions, first) -> None:  # type: ignore[no-untyped-def]
    way = walk(regions, first=first)
    for turn in turns:
        way.take(turn)
    way.mended(QUIET)
    if way.going.phase is Phase.FAILED:
        assert way.going.reason, "a person is told what could not be done"
        return
    wanted = NEW if way.going.phase is Phase.PROMOTED else None if first else OLD
    for seen in way.world.values():
        serving = {s.release_id for s in seen.slots.values() if s.weight_pct > 0}
        if serving == {None}:
            continue  # the champion's record was lost in a region that this rollout never touched
        assert serving == ({wanted.id} if wanted else set()), (way.going.phase, seen)


@settings(max_examples=300, deadline=None)
@given(turns=st.lists(TURN, max_size=40), regions=st.integers(1, 3), paused=st.booleans())
def test_the_weight_falls_within_a_few_turns_of_evidence(turns, regions, paused) -> None:  # type: ignore[no-untyped-def]
    """A FAIL in one region takes the challenger's weight away in all of them, paused or not."""
    way = walk(regions)
    for turn in turns:
        way.take(replace(turn, event=turn.event if turn.event in HANDS else "nothing", between="nothing"))
    exposed = [n for n, seen in way.world.items() if seen.slots[way.going.region(n).slot].weight_pct > 0]
    watched = [n for n in exposed if way.going.region(n).phase in (Phase.SHIFTING, Phase.BAKING)]
    if way.going.ended or not watched or way.going.intent is Intent.PROMOTE:
        return
    if paused:
        way.happen("pause", "r1")
    for _ in range(4):
        way.take(replace(QUIET, canary=Verdict.FAIL))
    left = {n: way.world[n].slots[way.going.region(n).slot].weight_pct for n in exposed}
    assert set(left.values()) == {0.0}, (left, way.going)


@settings(max_examples=200, deadline=None)
@given(turns=st.lists(TURN, max_size=40), regions=st.integers(1, 3))
def test_a_paused_rollout_leaves_no_weight_on_its_challenger(turns, regions) -> None:  # type: ignore[no-untyped-def]
    way = walk(regions)
    for turn in turns:
        way.take(replace(turn, event=turn.event if turn.event in HANDS else "nothing", between="nothing"))
    if way.going.ended or way.going.falling_back:
        return
    way.happen("pause", "r1")
    for _ in range(4):
        way.take(QUIET)
    for name, seen in way.world.items():
        part = way.going.region(name)
        if part.phase is not Phase.PROMOTED:
            assert seen.slots[part.slot].weight_pct == 0, (name, way.going)


@settings(max_examples=300, deadline=None)
@given(
    lost=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(("challenger loses its machine", "all is well")))),
    regions=st.integers(1, 2),
    first=st.booleans(),
)
def test_lost_machines_alone_never_roll_back(lost, regions, first) -> None:  # type: ignore[no-untyped-def]
    """However often, once it was ready: it is held, or a person is asked; when machines are back it is promoted."""
    way = walk(regions, first=first)
    for seconds, event in lost:
        started = all(part.phase not in (Phase.PENDING, Phase.PREPARING) for part in way.going.regions)
        way.take(replace(QUIET, event=event if started else "nothing", seconds=seconds))
        assert not way.going.falling_back, way.going
    for _ in range(200):
        if way.going.phase is Phase.PAUSED:
            way.happen("resume", "r1")
        for name in way.world:
            way.recover(name)
        way.take(replace(QUIET, seconds=40))
    assert way.going.phase is Phase.PROMOTED, way.going


PHASES = ("pending", "preparing", "gating", "shifting", "baking", "promoted", "rolling_back")


def test_every_fault_meets_every_phase() -> None:
    """Count what random walks cover: each phase, going on or paused, with each fault and each hand: 312 meetings."""
    covered: Counter[tuple[str, bool, str]] = Counter()
    draw = random.Random(7)
    for _ in range(1000):
        way = walk(draw.randint(1, 3), first=draw.random() < 0.2)
        for _ in range(80):
            happens = draw.choice(EVENTS) if draw.random() < 0.25 else "nothing"
            canary, bake, gate = (draw.choice(list(Verdict)) if draw.random() < 0.05 else Verdict.PASS for _ in "cbg")
            seconds = draw.randint(1, 20)
            turn = Turn(happens, "nothing", draw.randint(0, 2), seconds, canary, bake, gate, looks=1, leaning=False)
            way.take(turn)
            if draw.random() < 0.1:
                way.happen("resume" if way.going.phase is Phase.PAUSED else "pause", "r1")
        covered += way.covered
    met = [(phase, paused, event) for phase in PHASES for paused in (False, True) for event in EVENTS]
    # A rollout that goes back is never paused.
    missing = [m for m in met if not covered[m] and m[:2] != ("rolling_back", True)]
    assert not missing


@given(st.sampled_from(["canary", "blue_green"]), st.integers(1, 3))
def test_an_applied_world_needs_nothing(strategy: str, regions: int) -> None:
    how = replace(SETTINGS, strategy=strategy)
    way = walk(regions, how=how)
    for _ in range(100):
        way.take(replace(QUIET, seconds=40))
    assert way.going.phase is Phase.PROMOTED
    live = ObservedState({seen.address: seen for seen in way.world.values()})
    names: dict[str, ObservedEndpoint] = way.world
    wanted = desired(NEW, regions=tuple(names), settings=how)
    assert {c.action for c in diff(wanted, live)} == {Action.NONE}
