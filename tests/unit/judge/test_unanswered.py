"""Requests without an end: a hang is found, a slow answer is none, and which release is the slow one is no guess."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from reconciler.core.judge import (
    ArmCounts,
    Fates,
    JudgeSettings,
    Protect,
    StartWindow,
    Tick,
    judge,
    observe,
    replay,
    start,
    state_from_json,
    state_to_json,
)
from reconciler.core.judge.bets import Array
from reconciler.core.judge.outcomes import Rows
from reconciler.core.judge.unanswered import AGES_S, UnansweredState, advance, first_state, in_flight
from reconciler.core.model.verdict import Verdict
from tests.bench.judge.counting import simulate_events
from tests.bench.judge.events import SAME, Change, Service
from tests.bench.judge.runs import judge_recording
from tests.bench.judge.traffic import FLAT, RAMP, Schedule

SETTINGS = JudgeSettings(protect=(Protect("error_rate", 2.0),), warmup_s=0)
NEVER = 1e9


def followed(durations: Array, arms: Array, *, until_s: float = 1250.0) -> UnansweredState:
    """Return the state after windows of ten requests each ten seconds; `durations` and `arms` [R, windows, 10]."""
    runs, windows = durations.shape[:2]
    began = 10.0 * np.arange(windows)[:, None] + np.arange(10.0)
    state = first_state(runs)
    told: dict[tuple[float, float], Array] = {}
    for t_s in np.arange(10.0, until_s, 10.0):
        rows = [row(durations, arms, began, k, t_s) for k in range(windows) if 10.0 * k < t_s]
        moved = [r for r in rows if r.key not in told or (told[r.key] != r.counts).any()]
        told |= {r.key: r.counts for r in moved}
        state = advance(state, moved, t_s, SETTINGS)
    return state


def row(durations: Array, arms: Array, began: Array, k: int, t_s: float) -> Rows:
    ended = began[k] + durations[:, k] <= t_s
    sides = [np.stack([(arms[:, k] == arm).sum(1), ((arms[:, k] == arm) & ended).sum(1)], -1) for arm in (0, 1)]
    counts = np.concatenate([np.stack(sides, 1), np.zeros((len(arms), 2, 2))], -1)
    return Rows(50.0, 10.0 * k, 10.0, counts.astype(np.float64))


def hanging(rng: Generator, shape: tuple[int, int, int]) -> Array:
    """Return durations of which a third never end, whatever the arm: the hardest equal releases."""
    return np.where(rng.random(shape) < 0.3, NEVER, rng.exponential(20.0, shape))


def test_equal_releases_whose_requests_hang_win_nothing_on_average() -> None:
    rng = default_rng(1)
    shape = (4000, 12, 10)
    state = followed(hanging(rng, shape), rng.integers(0, 2, shape).astype(np.float64))
    mean = np.exp(state.up).mean(0)
    error = np.exp(state.up).std(0) / np.sqrt(shape[0])
    assert (mean <= 1.0 + 3.0 * error).all(), (mean, error)
    assert (np.abs(state.up) > 0.1).mean() > 0.5, "the bets were really settled"


@pytest.mark.parametrize("answer_s", [1.0, 30.0])
def test_a_challenger_that_hangs_is_rolled_back_in_about_a_minute_and_an_answer(
    answer_s: float,
) -> None:
    recording = simulate_events(Service(answer_s=answer_s), Change(hanging=1.0), FLAT, runs=20, seed=2, duration_s=300)
    assert judge_recording(recording, SETTINGS).failed_s.max() <= 60.0 + 1.5 * answer_s


@pytest.mark.parametrize("answer_s", [1.0, 30.0])
def test_one_request_in_five_that_hangs_is_found_and_not_promoted(answer_s: float) -> None:
    recording = simulate_events(Service(answer_s=answer_s), Change(hanging=0.2), FLAT, runs=20, seed=3, duration_s=600)
    outcome = judge_recording(recording, SETTINGS)
    assert np.isfinite(outcome.failed_s).all()
    assert not outcome.promoted.any()


@pytest.mark.parametrize("log_sd", [0.0, 0.6], ids=["all as long", "lognormal"])
@pytest.mark.parametrize("answer_s", [10.0, 60.0])
def test_answers_that_take_twice_as_long_are_no_hang(answer_s: float, log_sd: float) -> None:
    service = Service(answer_s=answer_s, answer_log_sd=log_sd)
    recording = simulate_events(service, Change(longer=2.0), RAMP, runs=20, seed=4)
    outcome = judge_recording(recording, SETTINGS)
    assert np.isinf(outcome.failed_s).all()
    assert outcome.promoted.mean() > 0.8


@pytest.mark.parametrize("schedule", [FLAT, RAMP], ids=["flat", "ramp"])
@pytest.mark.parametrize("service", [Service(answer_s=60.0), Service(answer_s=180.0)], ids=["60 s", "180 s"])
def test_slow_but_equal_releases_are_hardly_ever_rolled_back(service: Service, schedule: Schedule) -> None:
    recording = simulate_events(service, SAME, schedule, runs=60, seed=5, duration_s=900.0)
    # At alpha 0.01 more than 4 of 60 has probability 0.0003.
    assert np.isfinite(judge_recording(recording, SETTINGS).failed_s).sum() <= 4


def tick(t_s: float, windows: list[tuple[float, Fates, Fates]]) -> Tick:
    """Return a tick that tells of windows and of nothing that ended."""
    told = (StartWindow(t, 10.0, 10.0 if t >= 0 else 0.0, champion, challenger) for t, champion, challenger in windows)
    return Tick(t_s, 10.0, ArmCounts(0, 0), ArmCounts(0, 0), cohorts=tuple(told))


def hung(k: int, *, champion_ends: bool = True) -> Tick:
    """Return the k-th tick of a challenger that hangs: each window ends in the tick after it, for the champion."""
    now = (10.0 * k, Fates(180, 0), Fates(20, 0))
    before = (10.0 * (k - 1), Fates(180, 180 if champion_ends else 0), Fates(20, 0))
    return tick(10.0 * (k + 1), [now] + ([before] if k else []))


def test_a_hang_without_one_ended_request_is_a_fail_with_a_sentence_and_no_routing_fault() -> None:
    found = replay([hung(k) for k in range(12)], SETTINGS)
    assert found.verdict is Verdict.FAIL, found
    assert "leaves requests without an end" in found.sentence
    assert found.exposed_requests == 20 * (found.decided_at_s or 0) / 10


def test_a_hang_of_both_is_no_verdict_on_the_challenger_and_the_sentence_says_what_is_open() -> None:
    found = replay([hung(k, champion_ends=False) for k in range(12)], SETTINGS)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.sentence == "Not decided: none of the challenger's 240 requests has ended yet."


def test_a_single_window_never_convicts() -> None:
    ticks = [tick(10.0 * k, []) for k in range(1, 13)]
    past = [(-10.0 * k, Fates(200, 200), Fates(0, 0)) for k in range(1, 40)]
    ticks[0] = tick(10.0, [*past, (0.0, Fates(180, 180), Fates(20, 0))])
    found = replay(ticks, SETTINGS)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert 0 < found.evidence["unanswered"] < found.evidence["rollback_limit"] + 3.0


def test_a_restart_at_any_tick_changes_nothing() -> None:
    ticks = [hung(k) for k in range(5)]
    for stop in range(5):
        state = start(SETTINGS)
        for index, each in enumerate(ticks):
            state = observe(state, each, SETTINGS)
            if index == stop:
                state = state_from_json(json.loads(json.dumps(state_to_json(state), allow_nan=False)))
        assert judge(state, SETTINGS) == replay(ticks, SETTINGS)


def test_windows_whose_answers_are_all_there_are_forgotten() -> None:
    rng = default_rng(6)
    state = followed(rng.exponential(1.0, (3, 30, 10)), rng.integers(0, 2, (3, 30, 10)).astype(np.float64))
    assert state.windows == ()
    assert (state.past[:, -1, 0] == state.past[:, -1, 1]).all()


def test_ages_rise_and_the_first_is_a_windows_length() -> None:
    assert all(low < high for low, high in pairwise(AGES_S))
    assert AGES_S[0] == 10.0


def test_requests_are_given_up_only_at_ages_after_which_others_show_that_none_came() -> None:
    """Early in a rollout the oldest known age always looks like the last: nothing is known of what ends after it."""
    begun = Rows(10.0, 0.0, 10.0, np.array([[[100.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]]]))
    young, old = first_state(1), first_state(1)
    ended = np.minimum(10.0 * np.arange(1, len(AGES_S) + 1), 80.0)
    young.past[0, :5] = np.stack([ended[:5], np.full(5, 100.0)], -1)
    old.past[0] = np.stack([ended, np.full(len(AGES_S), 100.0)], -1)
    assert _given_up(young, begun) == [False] * len(AGES_S), "at thirty seconds half have ended, and more are coming"
    assert _given_up(old, begun) == [age_s >= AGES_S[7] for age_s in AGES_S]


def _given_up(state: UnansweredState, rows: Rows) -> list[bool]:
    """Return by age whether requests of a window under another weight are not waited for any longer."""
    state = advance(state, [rows], 5.0, SETTINGS)
    return [bool(in_flight(state, weight_pct=50.0, t_s=age_s)[0] == 0.0) for age_s in AGES_S]
