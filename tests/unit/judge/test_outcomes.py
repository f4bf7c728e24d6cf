"""Outcomes by the start of requests: a failure is compared with those it began with, whatever else has ended."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import default_rng

from reconciler.core.judge import ArmCounts, Fates, JudgeSettings, Protect, StartWindow, Tick, observe, replay, start
from reconciler.core.judge.outcomes import BAD, FINE, NEW, SPARED, Rows, ended_outcomes, window_outcomes
from reconciler.core.model.verdict import Verdict
from tests.bench.judge.counting import simulate_events
from tests.bench.judge.events import SAME, Change, Service
from tests.bench.judge.runs import judge_recording
from tests.bench.judge.traffic import RAMP

SETTINGS = JudgeSettings(protect=(Protect("error_rate", 2.0),), warmup_s=0)
NOBODY = Fates(0, 0)


def rows(began_s: float, weight_pct: float, champion: Fates, challenger: Fates) -> Rows:
    return Rows(weight_pct, began_s, 10.0, np.array([[champion, challenger]], dtype=np.float64))


def test_a_tick_is_what_moved_and_it_is_compared_with_the_windows_in_which_it_moved() -> None:
    known = [rows(0.0, 10.0, Fates(90, 80, 1, 2), Fates(10, 9)), rows(10.0, 10.0, Fates(90, 5), Fates(10, 1))]
    quiet = rows(0.0, 10.0, Fates(90, 90, 1, 2), Fates(10, 10))
    failing = rows(10.0, 10.0, Fates(90, 60, 3, 4), Fates(10, 8, 5, 1))
    (found,) = window_outcomes({r.key: r for r in known}, [quiet, failing], 10.0, 1)
    champion, challenger = found.errors[0]
    assert (champion[BAD], champion[NEW], champion[FINE]) == (3, 0, 10 + 55 - 3)
    assert champion[SPARED] == 90 - 3, "the first window had no failure, so it compares with nothing"
    assert (challenger[BAD], challenger[SPARED]) == (5, 5)
    assert found.rejected is not None
    assert found.rejected[0, :, BAD].tolist() == [4, 1]
    assert found.rejected[0, :, SPARED].tolist() == [90 - 3 - 4, 10 - 5 - 1]


def test_what_began_under_another_weight_stands_by_itself() -> None:
    late = rows(0.0, 10.0, Fates(90, 90, 9), Fates(10, 10, 1))
    now = rows(10.0, 50.0, Fates(50, 0), Fates(50, 0))
    found = window_outcomes({}, [late, now], 50.0, 1)
    assert [each.weight_pct for each in found] == [50.0, 10.0]
    assert found[0].errors[0, :, BAD].sum() == 0
    assert found[1].errors[0, :, BAD].tolist() == [9, 1]


def test_a_gateway_that_counts_at_the_end_compares_with_what_ended() -> None:
    requests, errors, rejected = (np.array([pair], dtype=np.float64) for pair in ([100, 10], [3, 1], [2, 0]))
    found = ended_outcomes(10.0, requests, errors, rejected)
    assert found.errors[0].tolist() == [[3, 97, 100, 97], [1, 9, 10, 9]]
    assert found.rejected is not None
    assert found.rejected[0, :, BAD].tolist() == [2, 0]


def test_a_counter_that_fell_is_no_negative_count() -> None:
    before = rows(0.0, 10.0, Fates(90, 80, 5), Fates(10, 9))
    (found,) = window_outcomes({before.key: before}, [rows(0.0, 10.0, Fates(3, 1), NOBODY)], 10.0, 1)
    assert found.errors.min() >= 0


@pytest.mark.parametrize("longer", [1.0, 1.5])
def test_short_failures_beside_long_answers_convict_nobody_after_a_weight_change(longer: float) -> None:
    service = Service(answer_s=60.0, error_rate=0.02, rejected_rate=0.05)
    recording = simulate_events(service, Change(longer=longer), RAMP, runs=80, seed=11, duration_s=900.0)
    # At alpha 0.01 more than 5 of 80 has probability 0.0001.
    assert np.isfinite(judge_recording(recording, SETTINGS).failed_s).sum() <= 5


def test_counted_at_the_end_a_weight_change_closes_the_window_until_earlier_answers_are_there() -> None:
    service = Service(answer_s=60.0, error_rate=0.02, rejected_rate=0.05, by_start=False)
    equal = simulate_events(service, SAME, RAMP, runs=80, seed=12, duration_s=900.0)
    assert np.isfinite(judge_recording(equal, SETTINGS).failed_s).sum() <= 5
    bad = simulate_events(service, Change(error_ratio=6.0), RAMP, runs=20, seed=13)
    assert judge_recording(bad, SETTINGS).rolled_back.all()


def test_failures_from_before_a_weight_change_are_still_evidence() -> None:
    """Each request ends after 200 s, the challenger's badly; the weight changes before the first has."""
    state = start(SETTINGS)
    for k in range(36):
        windows = [_window(j, ended=j < k) for j in (k, k - 20) if j == k or 0 <= j < 15]
        told = Tick(10.0 * (k + 1), _weight(k), ArmCounts(0, 0), ArmCounts(0, 0), cohorts=tuple(windows))
        state = observe(state, told, SETTINGS)
    assert state.decision is not None
    assert state.decision.verdict is Verdict.FAIL


def _weight(k: int) -> float:
    return 10.0 if k < 15 else 50.0


def _window(j: int, *, ended: bool) -> StartWindow:
    champion, challenger = round(200 - 2 * _weight(j)), round(2 * _weight(j))
    good, bad = champion * ended, challenger * ended
    return StartWindow(10.0 * j, 10.0, _weight(j), Fates(champion, good, j % 2 * ended), Fates(challenger, bad, bad))


def test_windows_and_plain_counts_of_the_same_traffic_agree() -> None:
    """Where every request ends in its own tick, it does not matter how it was counted."""
    rng = default_rng(15)
    plain, by_start = [], []
    for k in range(60):
        bad = [int(rng.binomial(n, p)) for n, p in ((180, 0.01), (20, 0.08))]
        counts = ArmCounts(180, bad[0]), ArmCounts(20, bad[1])
        window = StartWindow(10.0 * k, 10.0, 10.0, Fates(180, 180, bad[0]), Fates(20, 20, bad[1]))
        plain.append(Tick(10.0 * (k + 1), 10.0, counts[0], counts[1]))
        by_start.append(Tick(10.0 * (k + 1), 10.0, counts[0], counts[1], cohorts=(window,)))
    one, other = replay(plain, SETTINGS), replay(by_start, SETTINGS)
    assert one.verdict is other.verdict is Verdict.FAIL
    assert one.decided_at_s == other.decided_at_s
    assert one.evidence["rollback"] == pytest.approx(other.evidence["rollback"], abs=0.2)
