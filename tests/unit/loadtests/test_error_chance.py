"""How often the load gate is wrong, simulated: it may FAIL who is no worse with chance alpha, over all its looks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadtests.columns import Columns, Floats, joined
from loadtests.figures import comparison_of, tails_of
from loadtests.profile import Compare, Slo
from loadtests.result import result_of
from reconciler.core.model.verdict import Verdict
from reconciler.gates.load import judge_load
from tests.unit.loadtests.made import profile, run_of

ALPHA, LIMIT, LOOKS, ROUND = 0.05, 0.25, 5, 120
SHAPE = profile(
    compare=Compare(metrics=["ttft_p50", "ttft_p95", "error_rate"]), slo=Slo(ttft_p95_ms=1e6, error_rate=0.5)
)
EMPTY = (result_of(run_of([], [])),)
Noise = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def independent(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    weather = rng.normal(0.0, 0.2, count)
    return weather + rng.normal(0.0, 0.3, count), weather + rng.normal(0.0, 0.3, count)


def in_bursts(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Latencies of one arm are alike for some ten requests in a row, each arm's by itself."""
    made = []
    for _ in range(2):
        slow = np.convolve(rng.normal(0.0, 1.0, count + 9), np.ones(10) / 10**0.5, mode="valid")
        made.append(0.2 * slow + rng.normal(0.0, 0.1, count))
    return made[0], made[1]


def heavy(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    return np.log1p(rng.pareto(1.5, count)), np.log1p(rng.pareto(1.5, count))


def two_kinds(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """About one request in twenty takes five times as long: the 95th percentile lies between both kinds."""
    arms = [np.where(rng.random(count) < 0.06, np.log(5.0), 0.0) + rng.normal(0.0, 0.1, count) for _ in range(2)]
    return arms[0], arms[1]


def columns(ttft_ms: Floats, failed: Floats) -> Columns:
    count = len(ttft_ms)
    numbers = np.arange(count)
    return Columns(
        key=numbers,
        at_s=numbers * 0.1,
        ttft_ms=ttft_ms,
        itl_ms=ttft_ms,
        e2e_ms=ttft_ms,
        tokens=np.ones(count),
        ok=failed == 0,
        timely=np.ones(count, dtype=np.bool_),
    )


def verdict_of(rng: np.random.Generator, noise: Noise, factor: float, errors: tuple[float, float]) -> tuple[str, int]:
    """Return how a gate ends that looks after each of five rounds, and after how many."""
    arms: tuple[list[Columns], list[Columns]] = ([], [])
    verdict = Verdict.INCONCLUSIVE
    for look in range(1, LOOKS + 1):
        for arm, log_ms, slower, rate in zip(arms, noise(rng, ROUND), (1.0, factor), errors, strict=True):
            arm.append(columns(100.0 * slower * np.exp(log_ms), (rng.random(ROUND) < rate).astype(float)))
        found = comparison_of(SHAPE, EMPTY, joined(arms[0]), joined(arms[1]), alpha=ALPHA, looks=look)
        verdict = judge_load(found, max_regression=LIMIT).verdict
        if verdict in (Verdict.PASS, Verdict.FAIL):
            return verdict, look
    return verdict, LOOKS


def share(
    wanted: Verdict, noise: Noise, factor: float, errors: tuple[float, float] = (0.02, 0.02), runs: int = 100
) -> float:
    rng = np.random.default_rng(20_261)
    return sum(verdict_of(rng, noise, factor, errors)[0] == wanted for _ in range(runs)) / runs


@pytest.mark.parametrize("noise", [independent, in_bursts, heavy, two_kinds])
def test_a_challenger_that_is_no_worse_fails_at_most_as_often_as_alpha_says(noise: Noise) -> None:
    assert share(Verdict.FAIL, noise, 1.0) <= ALPHA / 5  # far from the limit: hardly ever


@pytest.mark.parametrize("noise", [independent, in_bursts, heavy, two_kinds])
def test_even_one_that_lies_on_the_limit_fails_at_most_that_often(noise: Noise) -> None:
    assert share(Verdict.FAIL, noise, 1 + LIMIT, (0.02, 0.03), runs=200) <= 0.096  # 0.05, and three times its own error


@pytest.mark.parametrize("noise", [independent, in_bursts, two_kinds])
def test_a_challenger_twice_as_slow_is_found(noise: Noise) -> None:
    assert share(Verdict.FAIL, noise, 2.0) >= 0.95


def test_a_challenger_that_fails_a_fifth_of_its_requests_is_found_soon() -> None:
    rng = np.random.default_rng(5)
    ends = [verdict_of(rng, independent, 1.0, (0.01, 0.2)) for _ in range(50)]
    assert {verdict for verdict, _ in ends} == {Verdict.FAIL}
    assert max(looks for _, looks in ends) <= 2


def test_one_as_bad_as_the_limit_passes_seldom() -> None:
    assert share(Verdict.PASS, independent, 1 + LIMIT, runs=200) <= 0.096


def test_looks_share_one_chance_of_error_however_many_there_are() -> None:
    spent = sum(tails_of(ALPHA, 0.05, look, demands=4).low * 4 for look in range(1, 2000))
    assert 0.99 * ALPHA < spent < ALPHA
