"""Noise is learned from a period in which both arms ran the same release."""

from __future__ import annotations

import numpy as np
import pytest

from environments.errors import SluiceError
from reconciler.core.judge import ArmCounts, Tick, learn
from tests.bench.judge.runs import ticks_of
from tests.bench.judge.traffic import EQUAL, EVEN, VLLM_TTFT_BOUNDS, Release, Traffic, simulate, with_noise

LABELS = (*map(repr, VLLM_TTFT_BOUNDS), "+Inf")


def hour(noise: float, seed: int) -> list[Tick]:
    """Return an A/A hour at 50 % on machines with `noise`."""
    return ticks_of(simulate(with_noise(Traffic(), noise), EQUAL, EVEN, runs=1, seed=seed, duration_s=3600.0))


@pytest.mark.parametrize("noise", [0.03, 0.05, 0.10])
def test_the_noise_that_was_put_in_comes_out(noise: float) -> None:
    learned = [learn(hour(noise, seed)) for seed in range(4)]
    assert np.mean([found.sigma for found in learned]) == pytest.approx(noise, rel=0.2)
    assert sum(found.low <= noise <= found.high for found in learned) >= 3
    assert {found.blocks for found in learned} == {60}


def test_a_constant_difference_of_two_releases_is_no_noise() -> None:
    machines, release = with_noise(Traffic(), 0.03), Release(ratio=1.1)
    hours = [ticks_of(simulate(machines, release, EVEN, runs=1, seed=n, duration_s=3600.0)) for n in range(6)]
    assert np.mean([learn(ticks).sigma for ticks in hours]) > 0.06
    assert np.mean([learn(ticks, same_release=False).sigma for ticks in hours]) == pytest.approx(0.03, rel=0.25)


def test_quiet_machines_teach_little_noise() -> None:
    found = learn(hour(0.0, 5))
    assert found.low == 0.0
    assert found.sigma < 0.02


def test_a_short_period_is_refused() -> None:
    with pytest.raises(SluiceError, match="JUDGE-008"):
        learn(hour(0.03, 6)[:30])


def test_no_tick_is_refused() -> None:
    with pytest.raises(SluiceError, match="JUDGE-008"):
        learn([])


def test_one_idle_arm_teaches_nothing() -> None:
    nothing = ArmCounts(0, 0, dict.fromkeys(LABELS, 0))
    with pytest.raises(SluiceError, match="JUDGE-008"):
        learn(Tick(tick.t_s, 50.0, tick.champion, nothing) for tick in hour(0.03, 7))


def test_other_buckets_half_way_are_refused() -> None:
    ticks = hour(0.03, 8)
    changed = [Tick(t.t_s, 50.0, ArmCounts(5, 0, {"0.5": 3, "+Inf": 5}), t.challenger) for t in ticks[200:]]
    with pytest.raises(SluiceError, match="JUDGE-007"):
        learn([*ticks[:200], *changed])
