"""The simulator of single requests: what hangs, names its slot, is told late, or goes with its replica."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from reconciler.core.judge.outcomes import Rows
from tests.bench.judge.counting import simulate_events
from tests.bench.judge.events import SAME, Change, Requests, Service, plan_of, requests_of
from tests.bench.judge.reading import from_replicas, late, lives_of, summed, told_by
from tests.bench.judge.traffic import FLAT

PLAN = plan_of(FLAT, 300.0)


def made(service: Service, change: Change = SAME, seed: int = 1) -> Requests:
    return requests_of(service, change, PLAN, default_rng(seed))


def test_requests_hang_on_both_arms_as_often_and_on_one_more_if_told_so() -> None:
    found = made(Service(requests_per_s=60.0, hanging=0.1), Change(hanging=0.3))
    shares = [np.isinf(found.ended_s[found.arm == arm]).mean() for arm in (0, 1)]
    assert shares == pytest.approx([0.1, 0.4], abs=0.04)


def test_pinned_requests_reach_the_challenger_alone_and_belong_to_no_window() -> None:
    service = Service(pinned_per_s=10.0, pinned_ttft_ratio=3.0, answer_s=1000.0)
    found = made(service)
    assert (~found.split).sum() == pytest.approx(10.0 * 1200.0, rel=0.05)
    assert (found.arm[~found.split] == 1).all()
    waited = [np.median((found.first_token_s - found.began_s)[of]) for of in (found.split, ~found.split)]
    assert waited[1] / waited[0] == pytest.approx(3.0, rel=0.1)
    recording = simulate_events(replace(service, answer_s=1.0), SAME, FLAT, runs=1, seed=2, duration_s=300.0)
    assert recording.begun is not None
    assert recording.begun[..., 1].sum() == pytest.approx(0.1 * 20.0 * 300.0, rel=0.15)
    assert recording.requests[..., 1].sum() > 4.0 * recording.begun[..., 1].sum()
    begun_in_windows = sum(row.counts[0, 1, 0] for row in _last_of_each(recording.windows))
    assert begun_in_windows == recording.begun[..., 1].sum()


def test_a_window_is_told_once_where_a_schedule_names_the_same_weight_again() -> None:
    """As a gateway has it: no weight changed, so nothing cuts the window; two halves would be counted in turns."""
    schedule = ((55.0, 10.0), (math.inf, 10.0))
    recording = simulate_events(Service(answer_s=30.0), SAME, schedule, runs=1, seed=2, duration_s=100.0)
    for rows in recording.windows:
        assert len({row.key for row in rows}) == len(rows)


def _last_of_each(ticks: tuple[tuple[Rows, ...], ...]) -> Iterable[Rows]:
    return {row.key: row for rows in ticks for row in rows}.values()


def test_machine_noise_belongs_to_an_arm_and_wanders() -> None:
    quiet, noisy = (made(Service(ttft_log_sd=1e-6, rejected_rate=0.0, arm_noise=sd)) for sd in (0.0, 0.1))
    spread = [np.log((each.first_token_s - each.began_s)[np.isfinite(each.tpot_s)]).std() for each in (quiet, noisy)]
    assert spread[0] < 1e-3
    assert spread[1] == pytest.approx(0.1, rel=0.35)


def test_what_could_not_be_read_comes_with_the_next_reading() -> None:
    cells = np.arange(1.0, 5.0)[:, None, None] * np.ones((4, 2, 1))
    read = np.array([True, False, False, True])
    assert late(cells, read)[:, 0, 0].tolist() == [1.0, 0.0, 0.0, 9.0]


def test_a_replica_that_comes_back_empty_makes_the_sum_fall_and_tells_of_itself_from_then_on() -> None:
    cells = np.ones((5, 2, 1))
    lives = np.array([[0, 0], [0, 0], [0, 1], [0, 1], [0, 1]])
    moved, fell = summed(cells, lives)
    assert moved[:, 0].tolist() == [2.0, 2.0, 0.0, 2.0, 2.0]
    assert not fell.any(), "what the other replica counted hides it here"
    cells[:2, 1] = 5.0
    moved, fell = summed(cells, lives)
    assert fell.tolist() == [False, False, True, False, False]
    assert moved[3:, 0].tolist() == [2.0, 2.0]


def test_of_a_tick_in_which_one_sum_fell_neither_arm_is_read() -> None:
    steady, falling = np.ones((3, 1, 1)), np.array([5.0, 0.0, 1.0])[:, None, None]
    told = from_replicas((steady, falling), (np.zeros((3, 1), int), np.array([[0], [1], [1]])))
    assert told[:, 0, 0].tolist() == [1.0, 0.0, 1.0]
    assert told[:, 1, 0].tolist() == [5.0, 0.0, 1.0]


def test_a_request_is_told_by_the_replica_it_began_on_or_by_none() -> None:
    service = Service(replicas=(4, 3), churn_per_s=1.0 / 60.0)
    found = made(service)
    lives = (lives_of(service, 0, 30, default_rng(3)), lives_of(service, 1, 30, default_rng(4)))
    replica = told_by(lives, found, found.first_token_s, default_rng(5))
    seen = np.isfinite(found.first_token_s) & (found.began_s >= 0.0) & (found.first_token_s < 300.0)
    assert 0.8 < (replica[seen] >= 0).mean() < 1.0
    for arm in (0, 1):
        assert set(replica[seen & (found.arm == arm)].tolist()) - {-1} == set(range(service.replicas[arm]))


def test_replicas_that_never_go_tell_what_one_server_would() -> None:
    service = Service(replicas=(3, 2), churn_per_s=1e-12)
    one, many = (simulate_events(each, SAME, FLAT, runs=1, seed=6, duration_s=200.0) for each in (Service(), service))
    began_before = many.latency["ttft"].sum() / one.latency["ttft"].sum()
    assert math.isclose(began_before, 1.0, rel_tol=0.05)
    assert many.latency["itl"].sum() == pytest.approx(one.latency["itl"].sum(), rel=0.1)
