"""Whatever happens to it, a rollout never leaves two champions, none, or weights that do not add up to 100."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.after import aborted, after, paused, promoted_by_hand, resumed
from reconciler.core.ideal import happened
from reconciler.core.next_steps import Evidence, next_steps
from reconciler.core.observed import ObservedEndpoint
from reconciler.core.rollout import ENDED, GateResult, Phase, Rollout, rollout_from_json, rollout_to_json
from reconciler.core.settings import RolloutSettings
from reconciler.core.steps import RunGate
from reconciler.core.verdict import Verdict
from tests.support.releases import SETTINGS, endpoint, release, rollout

VERDICTS = st.sampled_from(list(Verdict))
EVENTS = st.sampled_from(
    [
        "nothing",
        "crash",
        "silence",
        "recover",
        "unreadable",
        "forget",
        "champion_crash",
        "pause",
        "resume",
        "abort",
        "promote",
    ]
)
TURN = st.tuples(EVENTS, VERDICTS, VERDICTS, VERDICTS, st.integers(0, 30), st.integers(1, 20))
GATED = replace(SETTINGS, gates={"eval": {"suite": "x"}}, start_timeout_s=100)
World = dict[str, ObservedEndpoint]


@settings(max_examples=300, deadline=None)
@given(
    turns=st.lists(TURN, max_size=60),
    regions=st.integers(1, 3),
    first=st.booleans(),
    inconclusive=st.sampled_from(["pause", "roll_back", "promote"]),
)
def test_no_reachable_state_breaks_the_weights(turns, regions, first, inconclusive) -> None:  # type: ignore[no-untyped-def]
    old, new = release("old", prompt="p1"), release("new", prompt="p2")
    names = ["r1", "r2", "r3"][:regions]
    slots = {"a": (None, 0.0), "b": (None, 0.0)} if first else {"a": (old, 100.0), "b": (None, 0.0)}
    world: World = {name: endpoint(slots, region=name) for name in names}
    going = rollout(new, world, settings=replace(GATED, on_inconclusive=inconclusive))
    now = 0.0
    for event, canary, bake, gate, requests, seconds in turns:
        now += seconds
        world, going = _meddle(world, going, event, now)
        evidence = Evidence(canary, "c", bake, "b", requests, requests // 2, watched_s=seconds)
        seen = {} if event == "unreadable" else world
        for step in next_steps(going, seen, dict.fromkeys(names, evidence), now):
            world = happened(world, going, step)
            _check(world, first=first)
            found = GateResult(step.gate, gate, "g") if isinstance(step, RunGate) else None
            going = after(going, step, now, found)
            going = rollout_from_json(rollout_to_json(going))
    world, going = _settle(world, going, now)
    _check_ended(world, going, old.id, new.id, first=first)


def _meddle(world: World, going: Rollout, event: str, now: float) -> tuple[World, Rollout]:
    region = going.regions[0]
    seen = world[region.region]
    challenger = seen.slots[region.slot]
    holds = challenger.release_id == going.challenger.id
    match event:
        case "crash" if holds:
            challenger = replace(challenger, warm=False, ready=False, restarts=challenger.restarts + 1)
        case "silence" if holds:
            challenger = replace(challenger, ready=False)
        case "recover" if holds:
            challenger = replace(challenger, ready=True)
        case "forget" if holds and challenger.weight_pct == 0:
            challenger = replace(challenger, running=False, ready=False)
        case "champion_crash" if region.champion_slot:
            champion = replace(seen.slots[region.champion_slot], warm=False)
            return {**world, region.region: replace(seen, slots={**seen.slots, region.champion_slot: champion})}, going
        case "pause" if not going.ended:
            return world, paused(going, "by hand")
        case "resume" if going.phase is Phase.PAUSED:
            return world, resumed(going, now)
        case "abort" if not going.ended:
            return world, aborted(going, "by hand")
        case "promote" if not going.ended:
            return world, promoted_by_hand(going, "by hand", now)
    return {**world, region.region: replace(seen, slots={**seen.slots, region.slot: challenger})}, going


def _settle(world: World, going: Rollout, now: float) -> tuple[World, Rollout]:
    """Let everything recover and everything pass until the rollout has ended."""
    for _ in range(300):
        now += 100
        world = {
            name: replace(
                seen,
                slots={
                    slot: replace(s, ready=True, running=True, problem=None) if s.release else s
                    for slot, s in seen.slots.items()
                },
            )
            for name, seen in world.items()
        }
        if going.phase is Phase.PAUSED:
            going = resumed(going, now)
        evidence = Evidence(Verdict.PASS, "", Verdict.PASS, "", 1000, 100)
        for step in next_steps(going, world, dict.fromkeys(world, evidence), now):
            world = happened(world, going, step)
            found = GateResult(step.gate, Verdict.PASS, "g") if isinstance(step, RunGate) else None
            going = after(going, step, now, found)
        if going.phase in ENDED:
            return world, going
    raise AssertionError(f"the rollout never ends: {going}")


def _check(world: World, *, first: bool) -> None:
    for seen in world.values():
        total = sum(seen.weights.values())
        assert total == 100 or (first and total == 0), seen.weights
        for slot in seen.slots.values():
            assert slot.weight_pct == 0 or slot.release is not None


def _check_ended(world: World, going: Rollout, old: str, new: str, *, first: bool) -> None:
    wanted = new if going.phase is Phase.PROMOTED else old
    for seen in world.values():
        serving = {s.release_id for s in seen.slots.values() if s.weight_pct > 0}
        if first and going.phase is not Phase.PROMOTED:
            assert serving == set()
        else:
            assert serving == {wanted}, (going.phase, seen)
            assert sorted(seen.weights.values()) == [0.0, 100.0]


@given(st.sampled_from(["canary", "blue_green"]), st.integers(1, 3))
def test_an_applied_world_needs_nothing(strategy: str, regions: int) -> None:
    from reconciler.core.change import Action
    from reconciler.core.diff import diff
    from reconciler.core.observed import ObservedState
    from tests.support.releases import desired

    old, new = release("old"), release("new", prompt="p2")
    names = tuple(f"r{i}" for i in range(regions))
    how: RolloutSettings = replace(SETTINGS, strategy=strategy)
    world: World = {name: endpoint({"a": (old, 100.0), "b": (None, 0.0)}, region=name) for name in names}
    going = rollout(new, world, settings=how)
    world, going = _settle(world, going, 0.0)
    assert going.phase is Phase.PROMOTED
    live = ObservedState({seen.address: seen for seen in world.values()})
    assert {c.action for c in diff(desired(new, regions=names, settings=how), live)} == {Action.NONE}
