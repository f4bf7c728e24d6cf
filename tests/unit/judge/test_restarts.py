"""After a promotion a fresh judgement watches on, and alpha is still one budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from reconciler.core.judge import restarts
from tests.bench.judge.runs import judge_recording
from tests.bench.judge.traffic import EQUAL, Recording, Release, Schedule, Traffic, simulate
from tests.unit.judge.test_null import SETTINGS


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_all_judgements_together_are_worth_one(count: int) -> None:
    state = restarts.first(1, 1)
    even = np.zeros((1, 1))
    for _ in range(count):
        state = restarts.restarted(state, even, np.array([True]))
    assert restarts.total(state, even)[0, 0] == pytest.approx(0.0, abs=1e-12)


def test_restarting_whenever_one_likes_reaches_a_limit_no_more_often_than_it_may() -> None:
    """A fair game; a run restarts when it is low, as promotions are. Ville: one in ten ever has ten times its stake."""
    rng = default_rng(1)
    runs = 20_000
    state, wealth, highest = restarts.first(runs, 1), np.zeros((runs, 1)), np.zeros(runs)
    for _ in range(300):
        wealth = wealth + np.where(rng.random((runs, 1)) < 0.4, np.log(1.3), np.log(0.8))
        highest = np.maximum(highest, restarts.total(state, wealth)[:, 0])
        low = wealth[:, 0] < -1.5
        state = restarts.restarted(state, wealth, low)
        wealth = np.where(low[:, None], 0.0, wealth)
    assert state.count.mean() > 2.0
    assert 0.03 < (highest >= np.log(10.0)).mean() <= 0.1


def test_only_runs_that_restart_lose_their_wealth_and_it_still_counts() -> None:
    wealth = np.array([[3.0], [3.0]])
    state = restarts.restarted(restarts.first(2, 1), wealth, np.array([True, False]))
    assert state.count.tolist() == [1, 0]
    kept = np.exp(restarts.total(state, np.array([[0.0], [3.0]])))[:, 0]
    assert kept[0] == pytest.approx(kept[1]) == pytest.approx(0.8 * np.exp(3.0) + 0.2)


LONG: Schedule = ((600.0, 10.0), (1200.0, 25.0), (1800.0, 50.0), (np.inf, 75.0))


def test_a_regression_that_begins_after_a_promotion_is_found() -> None:
    """Half an hour is fine and promoted; then the release starts to fail."""
    runs = 20
    fine = simulate(Traffic(), EQUAL, LONG, runs=runs, seed=3, duration_s=1800.0)
    bad = simulate(Traffic(), Release(error_ratio=5.0), ((np.inf, 75.0),), runs=runs, seed=4, duration_s=1800.0)
    both = _after(fine, bad)
    outcome = judge_recording(both, SETTINGS)
    assert (outcome.passed_s < 1800.0).mean() > 0.9
    found = outcome.failed_s[outcome.passed_s < 1800.0]
    assert np.isfinite(found).all()
    assert found.max() < 2700.0


def _after(one: Recording, two: Recording) -> Recording:
    return replace(
        one,
        weight_pct=np.concatenate([one.weight_pct, two.weight_pct]),
        requests=np.concatenate([one.requests, two.requests]),
        errors=np.concatenate([one.errors, two.errors]),
        latency={metric: np.concatenate([one.latency[metric], two.latency[metric]]) for metric in one.latency},
    )
