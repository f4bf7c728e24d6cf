"""After a weight has changed, what comes late from before it speaks for no arm."""

from __future__ import annotations

import numpy as np
import pytest

from reconciler.core.judge import ArmCounts, JudgeSettings, Protect, Tick, judge, observe, start
from reconciler.core.judge.closing import InForce, judged
from tests.bench.judge.counting import simulate_events
from tests.bench.judge.events import SAME, Change, Service
from tests.bench.judge.runs import judge_recording
from tests.bench.judge.traffic import RAMP, Schedule

SLOW = np.array([30.0])
NEVER = np.array([np.inf])
NOBODY = np.zeros(1)


def at(
    began_s: float, *, rose: bool = True, late: float | None = None, answer_s: float | None = None
) -> tuple[bool, ...]:
    """Return what may be judged of a tick that began so long after a change with 100 requests under way."""
    found = judged(
        InForce(50.0, 0.0, rose, np.array([100.0])),
        began_s,
        first_token_s=SLOW,
        answer_s=None if answer_s is None else np.array([answer_s]),
        late=None if late is None else np.array([late]),
    )
    parts = (found.outcomes, found.answers, found.first_tokens, found.first_tokens_clear)
    return tuple(bool(part[0]) for part in parts)


def test_late_first_tokens_convict_after_a_rise_and_clear_only_when_they_are_all_there() -> None:
    assert at(0.0)[2:] == (True, False)
    assert at(30.0)[2:] == (True, True)
    assert at(0.0, rose=False)[2:] == (False, False)


def test_where_requests_are_counted_by_their_start_outcomes_never_wait_and_answers_wait_for_the_last() -> None:
    assert at(0.0, late=60.0)[:2] == (True, False)
    assert at(500.0, late=60.0)[:2] == (True, False)
    assert at(10.0, late=0.0)[:2] == (True, True)


def test_where_they_are_counted_at_the_end_both_wait_as_long_as_answers_take() -> None:
    assert at(50.0, answer_s=60.0)[:2] == (False, False)
    assert at(60.0, answer_s=60.0)[:2] == (True, True)
    assert at(1e6, answer_s=np.inf)[:2] == (False, False)


def test_where_nobody_measures_answers_nothing_waits() -> None:
    assert at(0.0)[:2] == (True, True)


OFTEN: Schedule = (*((120.0 * k, 5.0 * k) for k in range(1, 15)), (np.inf, 75.0))
ROWS = (Protect("ttft", 1.2), Protect("itl", 1.2))


@pytest.mark.parametrize("by_start", [True, False], ids=["by start", "at the end"])
def test_weights_that_change_every_two_minutes_convict_no_equal_release(by_start: bool) -> None:
    service = Service(answer_s=30.0, ttft_s=5.0, by_start=by_start)
    recording = simulate_events(service, SAME, OFTEN, runs=60, seed=1)
    outcome = judge_recording(recording, JudgeSettings(protect=ROWS, warmup_s=0))
    # At alpha 0.01 more than 4 of 60 has probability 0.0003.
    assert np.isfinite(outcome.failed_s).sum() <= 4


@pytest.mark.parametrize("change", [Change(ttft_ratio=1.5), Change(tpot_ratio=1.5)], ids=["ttft", "itl"])
def test_slower_tokens_are_found_all_the_same(change: Change) -> None:
    recording = simulate_events(Service(answer_s=10.0, ttft_s=1.0), change, OFTEN, runs=20, seed=2)
    assert judge_recording(recording, JudgeSettings(protect=ROWS, warmup_s=0)).rolled_back.all()


def test_requests_that_hang_on_both_arms_hold_nothing_up_that_has_ended() -> None:
    """Two in a hundred never end, so many are under way at each change of weight, and none will tell a latency."""
    recording = simulate_events(Service(hanging=0.02), SAME, RAMP, runs=12, seed=3, duration_s=1200.0)
    outcome = judge_recording(recording, JudgeSettings(protect=ROWS, warmup_s=0))
    assert np.isinf(outcome.failed_s).all()
    assert outcome.promoted.mean() > 0.8


def test_answers_that_take_longer_than_the_last_bucket_are_named_as_what_keeps_the_judge_waiting() -> None:
    settings = JudgeSettings(protect=(Protect("ttft", 1.5),), warmup_s=0.0)
    spread = {"0.1": 0.0, "0.25": 20.0, "+Inf": 20.0}
    told = {}
    for name, answer_s in {
        "longer": {"30": 19.0, "60": 19.0, "+Inf": 20.0},
        "within": {"60": 20.0, "+Inf": 20.0},
    }.items():
        arm = ArmCounts(20, 0, spread, answer_s=answer_s)
        state = observe(start(settings), Tick(10.0, 50.0, arm, arm), settings)
        told[name] = judge(state, settings).sentence
    assert "take longer than the last bucket of the servers' histogram (60 s)" in told["longer"]
    assert "last bucket" not in told["within"]
