"""How many servers each slot has while traffic moves: the contract's formulas, on whole ways forward and back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState
from reconciler.core.model.rollout import Intent, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import after
from reconciler.core.rollout.ideal import happened
from reconciler.core.rollout.next_steps import next_steps
from reconciler.core.rollout.steps import Enter, Pause, ScaleSlot, SetWeights, StartSlot, Step, StopSlot, Wait
from reconciler.core.rollout.surge import servers_for
from reconciler.core.rollout.view import Evidence
from tests.support.builders.releases import SETTINGS, endpoint, release, rollout

OLD, NEW = release("old"), release("new")
MANY = 10**6
GOOD = Evidence(Verdict.PASS, "", Verdict.PASS, "", MANY, MANY, MANY, looks=1)
UNPROVEN = replace(GOOD, canary=Verdict.INCONCLUSIVE)


def servers(count: int) -> tuple[Replica, ...]:
    return tuple(Replica(f"old-{n}", ServerState.READY, warm=True) for n in range(count))


def begun(steady: int, *, surge: str, spare: int, shares: tuple[float, ...]) -> tuple[Rollout, ObservedEndpoint]:
    live = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)})
    live = replace(live, slots={**live.slots, "a": ObservedSlot(OLD, servers(steady), steady, 100.0)})
    how = replace(SETTINGS, steps_pct=shares, surge=surge, surge_replicas=spare)
    return rollout(NEW, {"local": live}, settings=how), live


class Way:
    """A rollout whose steps take effect at once, with the rules held after each of them."""

    def __init__(self, going: Rollout, seen: ObservedEndpoint, most: int) -> None:
        self.going, self.world, self.most = going, {"local": seen}, most
        self.now, self.steps = 0.0, list[Step]()
        self.steady = going.regions[0].replicas

    @property
    def seen(self) -> ObservedEndpoint:
        return self.world["local"]

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.seen.slots["a"].replicas), len(self.seen.slots["b"].replicas)

    def turn(self, evidence: Evidence) -> bool:
        """Take one turn; False when nothing is left to do but wait."""
        steps = next_steps(self.going, self.world, {"local": evidence}, self.now)
        moving = [step for step in steps if not isinstance(step, Wait)]
        if not moving:
            self.now += 5.0
            return bool(steps) and self.now < 10_000
        self.hold(moving[0])
        self.world = happened(self.world, self.going, moving[0])
        self.going = after(self.going, moving[0], self.now)
        self.steps.append(moving[0])
        self.now += 1.0
        assert sum(self.counts) <= self.most, (self.counts, moving[0])
        assert len(self.steps) < 2000, self.steps[-5:]
        return not self.going.ended and self.going.phase is not Phase.PAUSED

    def hold(self, step: Step) -> None:
        """Hold a weight to the servers that carry it."""
        if not isinstance(step, SetWeights):
            return
        champion, challenger = self.seen.slots["a"], self.seen.slots["b"]
        rises = step.challenger_pct > challenger.weight_pct
        if rises:
            assert challenger.ready_count >= need(step.challenger_pct, self.steady), step
        if self.going.settings.surge == "follow":
            assert champion.ready_count == self.steady, "the champion keeps all of its own"
        elif step.challenger_pct < 100:
            assert champion.ready_count >= need(100 - step.challenger_pct, self.steady), step


def need(share_pct: float, steady: int) -> int:
    return max(1, math.ceil(share_pct * steady / 100 - 1e-3))


@pytest.mark.parametrize(
    ("share", "steady", "wanted"),
    [(1, 50, 1), (10, 50, 5), (10, 51, 6), (50, 4, 2), (100, 4, 4), (0.5, 1, 1), (100 / 3, 3, 1), (33.5, 3, 2)],
)
def test_a_share_needs_its_part_of_the_servers_and_one_at_least(share: float, steady: int, wanted: int) -> None:
    assert servers_for(share, steady) == wanted


SHARES = st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True).map(lambda s: tuple(map(float, sorted(s))))


@settings(max_examples=150, deadline=None)
@given(steady=st.integers(1, 60), shares=SHARES)
def test_to_follow_is_a_whole_champion_and_a_challenger_as_large_as_its_share(
    steady: int, shares: tuple[float, ...]
) -> None:
    going, seen = begun(steady, surge="follow", spare=1, shares=shares)
    way = Way(going, seen, most=2 * steady)
    while way.turn(GOOD):
        pass
    assert way.going.phase is Phase.PROMOTED
    assert way.counts == (steady, steady)
    assert [s.challenger_pct for s in way.steps if isinstance(s, SetWeights)] == [*shares, 100.0]
    sizes = [s.replicas for s in way.steps if isinstance(s, StartSlot | ScaleSlot)]
    assert sizes == sorted(set(sizes)), "servers come as they are needed, and none goes"


@settings(max_examples=150, deadline=None)
@given(steady=st.integers(1, 40), spare=st.integers(1, 10), shares=SHARES)
def test_to_swap_is_never_more_than_the_steady_need_and_what_may_exceed_it(
    steady: int, spare: int, shares: tuple[float, ...]
) -> None:
    going, seen = begun(steady, surge="swap", spare=spare, shares=shares)
    way = Way(going, seen, most=steady + spare)
    while way.turn(GOOD):
        pass
    assert way.going.phase is Phase.PROMOTED, way.steps[-3:]
    assert way.seen.weights == {"a": 0.0, "b": 100.0}
    assert way.counts[1] == steady


@settings(max_examples=150, deadline=None)
@given(steady=st.integers(1, 40), spare=st.integers(1, 10), shares=SHARES, turns=st.integers(0, 60))
def test_a_swap_goes_back_from_wherever_it_is_and_ends_with_a_whole_champion(
    steady: int, spare: int, shares: tuple[float, ...], turns: int
) -> None:
    going, seen = begun(steady, surge="swap", spare=spare, shares=shares)
    way = Way(going, seen, most=steady + spare)
    for _ in range(turns):
        if not way.turn(GOOD):
            return
    way.going = replace(way.going, intent=Intent.ABORT)
    share = way.seen.slots["b"].weight_pct
    while way.turn(GOOD):
        assert way.seen.slots["b"].weight_pct <= share, "no weight rises on the way back"
        share = way.seen.slots["b"].weight_pct
    assert way.going.phase is Phase.ROLLED_BACK, way.steps[-3:]
    assert way.seen.weights == {"a": 100.0, "b": 0.0}
    assert way.counts == (steady, 0)


@pytest.mark.parametrize(("spare", "shares"), [(1, (10.0, 50.0)), (2, (10.0, 30.0)), (1, (10.0, 20.0, 30.0))])
def test_the_champion_gives_up_no_server_before_the_judge_has_passed(spare: int, shares: tuple[float, ...]) -> None:
    going, seen = begun(10, surge="swap", spare=spare, shares=shares)
    way = Way(replace(going, settings=replace(going.settings, on_inconclusive="pause")), seen, most=10 + spare)
    while way.turn(UNPROVEN):
        assert way.counts[0] == 10
    assert way.going.phase is Phase.PAUSED
    entered = [s.step for s in way.steps if isinstance(s, Enter) and s.phase is Phase.SHIFTING]
    fits = [index for index, each in enumerate(shares) if need(each, 10) <= spare]
    assert way.counts == (10, need(shares[max(fits)], 10))
    assert max(entered) == max(fits), "a share that fits beside a whole champion needs no proof"
    assert isinstance(way.steps[-1], Pause | SetWeights)


def half_swapped() -> Way:
    """Return the way of a swap whose champion asks for the servers that it gave up, and gets none."""
    going, seen = begun(10, surge="swap", spare=2, shares=(10.0, 50.0))
    way = Way(going, seen, most=12)
    while way.seen.slots["b"].weight_pct < 50:
        assert way.turn(GOOD)
    while way.seen.slots["a"].wanted == 10:
        assert way.turn(GOOD)
    left = way.seen.slots["a"].ready_count
    slots = {**way.seen.slots, "a": replace(way.seen.slots["a"], replicas=servers(left - 2), wanted=10)}
    way.world = {"local": replace(way.seen, slots=slots)}
    return way


def test_servers_that_do_not_come_back_are_a_persons_matter_and_no_server_with_weight_is_stopped() -> None:
    """Half way through a swap, back: the champion's servers find no room, so the challenger keeps what they lack."""
    way = half_swapped()
    way.going = replace(way.going, intent=Intent.ABORT)
    steps: list[Step] = []
    for _ in range(2000):
        found = next_steps(way.going, way.world, {"local": GOOD}, way.now)
        moving = [step for step in found if not isinstance(step, Wait)]
        assert not any(isinstance(step, StopSlot) for step in moving)
        if way.going.ended:
            break
        way.now += 1.0
        if moving and not isinstance(moving[0], ScaleSlot):  # there is no room
            way.world = happened(way.world, way.going, moving[0])
            way.going = after(way.going, moving[0], way.now)
            steps.append(moving[0])
    assert way.going.phase is Phase.FAILED
    kept = way.seen.slots["b"].weight_pct
    assert kept > 0
    assert f"servers after {SETTINGS.start_timeout_s:g} s" in (way.going.reason or "")
    assert f"keeps {kept:g} %" in (way.going.reason or "")


def test_a_paused_swap_waits_for_its_champions_servers_as_long_as_servers_may_take_to_start() -> None:
    """A person was asked by the pause; an `apply` that waits for what does not come would never say so."""
    way = half_swapped()
    way.going = replace(way.going, phase=Phase.PAUSED, reason="asked")
    ended, began = way.now + 2 * SETTINGS.start_timeout_s, way.now
    while True:
        [step] = next_steps(way.going, way.world, {"local": GOOD}, way.now)
        if isinstance(step, Wait) and step.settled:
            break
        assert way.now < ended, f"it waits for ever: {step}"
        way.turn(GOOD)
    kept = way.seen.slots["b"].weight_pct
    assert kept > 0
    assert f"the challenger keeps {kept:g} %" in step.reason
    assert f"for {SETTINGS.start_timeout_s:g} s" in step.reason
    assert way.now >= began + SETTINGS.start_timeout_s
