"""Whole buckets: what refutes a regression where both arms' first tokens lie in one or two buckets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from reconciler.core.judge import ArmCounts, JudgeSettings, Protect, Tick, decide, latency, whole_buckets
from reconciler.core.judge.bets import Array

BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5)


def judged(champion: Sequence[float], challenger: Sequence[float], row: Protect, *, noise: float = 0.03) -> str:
    """Return the verdict after at most 60 ticks of 40 first tokens an arm, each arm's spread evenly over its values.

    Where there is none, return the sentence that says so.
    """
    settings = JudgeSettings(noise=noise, warmup_s=0, tick_s=0.5, protect=(row,))
    state = decide.start(settings)
    for number in range(1, 61):
        state = decide.observe(state, Tick(0.5 * number, 50.0, arm(champion), arm(challenger)), settings)
        if state.decision:
            return state.decision.verdict.value
    return decide.judge(state, settings).sentence


def arm(values: Sequence[float], requests: int = 40) -> ArmCounts:
    """Return a tick's counts of an arm whose first tokens take `values`, in turn, in seconds."""
    taken = [values[i % len(values)] for i in range(requests)]
    counts = {str(bound): sum(t <= bound for t in taken) for bound in BOUNDS}
    return ArmCounts(requests, 0, {**counts, "+Inf": requests})


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize(
    ("values", "row"),
    [
        ((0.004, 0.007), Protect("ttft", 3.0)),
        ((0.15, 0.2), Protect("ttft", 3.0)),
        ((0.15, 0.2, 0.15, 0.2, 0.15, 0.2, 0.15, 0.2, 0.3), Protect("ttft", 3.0, share=0.25)),
        ((0.05,), Protect("ttft", 2.0)),
    ],
    ids=["two neighbours", "one wide bucket", "a share of them", "one value"],
)
def test_equal_arms_are_told_apart_from_slower_ones_whatever_the_buckets(
    values: Sequence[float], row: Protect, noise: float
) -> None:
    assert judged(values, values, row, noise=noise) == "PASS"


@pytest.mark.parametrize("values", [(0.004, 0.007), (0.15, 0.2), (0.05,)])
def test_an_arm_as_slow_as_the_row_is_not_promoted(values: Sequence[float]) -> None:
    assert judged(values, [3.0 * v for v in values], Protect("ttft", 3.0)) == "FAIL"


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_challenger_at_the_limit_is_refuted_as_seldom_as_beta_says(share: float) -> None:
    """Ratio 2 on bounds that lie a factor of 2 apart, so that rounding up to whole buckets gives nothing away."""
    bounds = tuple(0.01 * 2.0**i for i in range(8))
    reach = whole_buckets.reach_of(bounds, share, math.log(2.0), 0.0)
    rng = np.random.default_rng(7)
    runs, beta = 1000, 0.02
    past = np.zeros((runs, len(bounds) + 1))
    wealth, highest = np.zeros(runs), np.zeros(runs)
    for _ in range(40):
        champion = drawn(rng, bounds, runs, 20, share=0.0)
        challenger = drawn(rng, bounds, runs, 20, share=share)
        wealth += whole_buckets.paid(reach, past, past + champion, challenger)
        highest = np.maximum(highest, wealth)
        past = past + champion
    assert (highest >= -math.log(beta)).mean() <= beta


def test_a_bound_that_no_slower_arm_would_miss_tells_nothing() -> None:
    wide = (0.01, 0.1, 1.0)
    assert not whole_buckets.reach_of(wide, 1.0, math.log(1.2), 0.0).tells
    assert whole_buckets.reach_of(wide, 1.0, math.log(10.0), 0.0).tells
    assert not whole_buckets.reach_of(wide, 1.0, math.log(10.0), 0.1).tells, "the noise may hide what is missing"


def test_gaps_between_tokens_are_no_evidence_each() -> None:
    rows = (Protect("ttft", 3.0), Protect("itl", 3.0))
    plan = latency.plan_bets(BOUNDS, rows, JudgeSettings(protect=rows))
    assert [reach is not None for reach in plan.reaches] == [True, False]


@pytest.mark.parametrize(
    ("values", "row", "where"),
    [
        ((0.15, 0.2), Protect("ttft", 1.5), "one bucket of the servers' histogram, 100 ms to 250 ms"),
        ((0.0002, 0.0003), Protect("ttft", 3.0), "one bucket of the servers' histogram, 0 ms to 1 ms"),
    ],
)
def test_where_the_buckets_are_too_wide_it_says_which_and_what_to_do(
    values: Sequence[float], row: Protect, where: str
) -> None:
    said = judged(values, values, row)
    assert said.startswith(f"Not decided: {row.name} is not ruled out")
    assert where in said
    assert "--custom-histogram-buckets" in said


def test_nothing_is_bet_before_the_champion_has_answered() -> None:
    reach = whole_buckets.reach_of(BOUNDS, 1.0, math.log(3.0), 0.0)
    nobody = np.zeros((1, len(BOUNDS) + 1))
    block = nobody.copy()
    block[0, 2] = 40.0
    assert whole_buckets.paid(reach, nobody, nobody, block) == pytest.approx([0.0])


def drawn(rng: np.random.Generator, bounds: tuple[float, ...], runs: int, requests: int, *, share: float) -> Array:
    """Return cell counts [R, C] of log-normal latencies, a `share` of which takes twice as long."""
    latencies = 0.08 * np.exp(0.6 * rng.standard_normal((runs, requests)))
    latencies = np.where(rng.random((runs, requests)) < share, 2.0 * latencies, latencies)
    cells = np.searchsorted(bounds, latencies)
    counts: Array = np.stack([(cells == cell).sum(1) for cell in range(len(bounds) + 1)], 1).astype(float)
    return counts
