"""What a person may ask of a rollout, what it becomes, and what is refused because it is too late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from environments.errors import SluiceError
from reconciler.core.model.rollout import GateResult, Intent, Phase, RegionRollout, Rollout, Trouble
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.operator import aborted, paused, promoted_by_hand, resumed
from tests.support.builders.releases import SETTINGS, release

PASSED = GateResult("load", Verdict.PASS, "fast")
TRIED = RegionRollout(
    "east", 0, "b", phase=Phase.SHIFTING, step=1, since=5.0, unready_since=6.0, unreadable_since=7.0,
    displaced_since=8.0, champion_unready_since=8.5,
    gates=(GateResult("eval", Verdict.ERROR, "broke", attempts=3), PASSED), verdict=Verdict.ERROR,
    reason="broke", trouble=Trouble("weigh", 3, "PLAT-010", "no answer", retryable=True, retry_at=9.0), efforts=4,
)  # fmt: skip
WEST = RegionRollout("west", 0, "a", phase=Phase.PROMOTED, since=4.0, reason="fine", verdict=Verdict.PASS)
PAUSED = Rollout(
    "r-1", "test", "chat", release("new"), SETTINGS, (TRIED, WEST), 1.0, phase=Phase.PAUSED, reason="broke"
)
FRESH = RegionRollout("east", 0, "b", phase=Phase.SHIFTING, step=1, since=20.0, gates=(PASSED,))
GOING = replace(PAUSED, regions=(FRESH, WEST), phase=Phase.SHIFTING, reason="")


def test_a_resumed_rollout_gets_its_time_again_and_asks_again_what_has_not_passed() -> None:
    assert resumed(PAUSED, 20.0) == GOING
    assert resumed(replace(PAUSED, intent=Intent.PAUSE), 20.0) == GOING


def test_a_promotion_by_hand_is_a_resumed_rollout_with_a_wish() -> None:
    assert promoted_by_hand(PAUSED, "urgent", 20.0) == replace(GOING, intent=Intent.PROMOTE, reason="urgent")


def test_a_pause_is_a_wish() -> None:
    assert paused(GOING, "lunch") == replace(GOING, intent=Intent.PAUSE, reason="lunch")


def test_the_first_reason_of_an_abort_stays() -> None:
    once = aborted(GOING, "slow")
    assert once == replace(GOING, intent=Intent.ABORT, reason="slow")
    assert aborted(once, "again") == once


BACK = replace(PAUSED, regions=(replace(TRIED, phase=Phase.ROLLING_BACK), WEST), phase=Phase.SHIFTING)


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (lambda r: paused(r, "x"), "paused"),
        (lambda r: resumed(r, 9.0), "set going again"),
        (lambda r: promoted_by_hand(r, "x", 9.0), "set going again"),
    ],
    ids=["pause", "resume", "promote"],
)
@pytest.mark.parametrize("going", [BACK, replace(PAUSED, phase=Phase.ROLLING_BACK)], ids=["a region", "the rollout"])
def test_what_goes_back_is_not_stopped_half_way(ask: Callable[[Rollout], Rollout], word: str, going: Rollout) -> None:
    with pytest.raises(SluiceError) as refused:
        ask(going)
    assert refused.value.problem.render().splitlines() == [
        "ROLL-006  test/*/chat",
        f"  what: rollout r-1 is being rolled back and cannot be {word}: broke",
        "  why:  a rollback is not stopped half way: the regions would serve different releases",
        "  do:   wait for it (sluice status test --watch), then apply again",
    ]


def test_a_rollback_without_a_reason_says_that_it_failed() -> None:
    with pytest.raises(SluiceError, match="cannot be paused: it failed"):
        paused(replace(BACK, reason=""), "x")
