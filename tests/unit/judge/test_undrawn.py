"""Requests that no weight drew: their latencies convict no equal release."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from reconciler.core.judge import ArmCounts, Fates, Judgement, JudgeSettings, Protect, StartWindow, Tick, replay
from reconciler.core.judge.bets import Array
from reconciler.core.model.verdict import Verdict

BOUNDS = (0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
SETTINGS = JudgeSettings(warmup_s=0.0, protect=(Protect("ttft", 1.2),))


def judged(
    *, ratio: float = 1.0, pinned: int = 0, pinned_ratio: float = 1.0, until: float = math.inf, arm: int = 1
) -> Judgement:
    """Judge 30 minutes at 20 requests/s and 25 %; `pinned` more a tick go to an `arm` until then, in seconds."""
    return replay(ticks(ratio, pinned, pinned_ratio, until, arm), SETTINGS)


def ticks(ratio: float, pinned: int, pinned_ratio: float, until: float, arm: int) -> Iterator[Tick]:
    rng = np.random.default_rng(3)
    drawn = (150, 50)
    for k in range(1, 181):
        arms = []
        for which in (0, 1):
            mine = latencies(rng, drawn[which], ratio if which else 1.0)
            extra = latencies(rng, pinned if which == arm and 10.0 * k <= until else 0, pinned_ratio)
            found = np.concatenate([mine, extra])
            counts = {str(bound): float((found <= bound).sum()) for bound in BOUNDS}
            arms.append(ArmCounts(len(found), 0, {**counts, "+Inf": float(len(found))}))
        champion, challenger = (Fates(n, n) for n in drawn)
        window = StartWindow(10.0 * (k - 1), 10.0, 25.0, champion, challenger)
        yield Tick(10.0 * k, 25.0, arms[0], arms[1], cohorts=(window,))


def latencies(rng: np.random.Generator, count: int, ratio: float) -> Array:
    found: Array = ratio * 0.35 * np.exp(0.6 * rng.standard_normal(count))
    return found


@pytest.mark.parametrize(("arm", "ratio"), [(1, 3.0), (0, 0.3)], ids=["slow on the challenger", "fast on the champion"])
def test_requests_of_another_kind_that_are_pinned_to_an_arm_convict_nobody(arm: int, ratio: float) -> None:
    judgement = judged(pinned=100, pinned_ratio=ratio, arm=arm)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    whose = ("champion", "challenger")[arm]
    assert f"The {whose}'s servers answered" in judgement.sentence
    assert "names a slot in a header" in judgement.sentence


def test_a_few_pinned_requests_are_no_matter() -> None:
    assert judged(pinned=3, pinned_ratio=3.0).verdict is Verdict.PASS


def several(ratio: float) -> Iterator[Tick]:
    """Give the ticks in which a quarter of the first tokens are requests: each asks for four answers."""
    for tick in ticks(ratio, 0, 1.0, 0.0, 1):
        assert tick.cohorts is not None
        (window,) = tick.cohorts
        champion, challenger = (
            Fates(each.begun // 4, each.ended // 4) for each in (window.champion, window.challenger)
        )
        yield replace(tick, cohorts=(replace(window, champion=champion, challenger=challenger),))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.0, Verdict.PASS), (1.5, Verdict.FAIL)])
def test_several_answers_to_each_request_are_no_pinned_traffic(ratio: float, verdict: Verdict) -> None:
    assert replay(several(ratio), SETTINGS).verdict is verdict


def test_of_the_same_kind_they_keep_no_equal_release_from_promotion() -> None:
    assert judged(pinned=100).verdict is Verdict.PASS


def test_when_they_stop_a_slower_release_is_rolled_back() -> None:
    judgement = judged(ratio=1.5, pinned=100, pinned_ratio=3.0, until=300.0)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.decided_at_s is not None
    assert judgement.decided_at_s > 300.0


def test_a_window_that_is_told_when_it_closes_keeps_nobody_from_clearing() -> None:
    """Under a new weight everything looks undrawn until the next window is told."""
    settings = JudgeSettings(warmup_s=0.0, tick_s=0.5, protect=(Protect("ttft", 3.0),))
    counts = ArmCounts(20, 0, {"0.1": 0.0, "0.25": 20.0, "+Inf": 20.0})
    told = StartWindow(-10.0, 10.0, 50.0, Fates(5, 5), Fates(5, 5))
    ticks = [Tick(0.5 * k, 50.0, counts, counts, cohorts=(told,) if k == 1 else ()) for k in range(1, 18)]
    assert replay(ticks, settings).evidence["rows"][0]["refuted"]
