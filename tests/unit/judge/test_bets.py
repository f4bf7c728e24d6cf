"""A bet's payoff is an e-value: its mean over every way to split the outcomes between equal arms is 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.judge.bets import Array, null_variance, settle

# Twenty requests are the smallest block that a state settles.
TABLES = st.lists(st.integers(0, 15), min_size=3, max_size=3).filter(lambda pooled: 20 <= sum(pooled) <= 30)
RATIOS = st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3)


def splits(pooled: list[int], challenger: int) -> list[tuple[float, list[int]]]:
    """Return each way the challenger's requests can fall into the cells, with its probability when arms are equal."""
    total = math.comb(sum(pooled), challenger)
    found = []
    for first in range(min(pooled[0], challenger) + 1):
        for second in range(min(pooled[1], challenger - first) + 1):
            third = challenger - first - second
            if third <= pooled[2]:
                cells = [first, second, third]
                found.append((math.prod(map(math.comb, pooled, cells)) / total, cells))
    return found


def tables(pooled: list[int], challenger: int) -> tuple[Array, Array]:
    """Return the probabilities [R] and the counts [R, 2, 3] of every split."""
    found = splits(pooled, challenger)
    cells = np.array([cells for _, cells in found], dtype=np.float64)
    return np.array([p for p, _ in found]), np.stack([np.array(pooled) - cells, cells], 1)


@settings(max_examples=60, deadline=None)
@given(pooled=TABLES, log_ratio=RATIOS, part=st.floats(0.05, 0.95))
def test_the_mean_payoff_of_a_bet_between_equal_arms_is_one(
    pooled: list[int], log_ratio: list[float], part: float
) -> None:
    challenger = min(max(1, round(part * sum(pooled))), sum(pooled) - 1)
    probability, counts = tables(pooled, challenger)
    bets = np.broadcast_to(np.array(log_ratio), (len(counts), 1, 3))
    mean = float(probability @ np.exp(settle(bets, counts).log_e[:, 0]))
    assert mean == pytest.approx(1.0, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(pooled=TABLES, log_ratio=RATIOS)
def test_the_null_variance_is_that_of_every_split(pooled: list[int], log_ratio: list[float]) -> None:
    probability, counts = tables(pooled, 6)
    score = counts[:, 1] @ np.array(log_ratio)
    exact = float(probability @ score**2 - (probability @ score) ** 2)
    bets = np.broadcast_to(np.array(log_ratio), (len(counts), 1, 3))
    assert null_variance(bets, counts)[:, 0] == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("challenger", [[0.0, 0.0], [30.0, 10.0]])
def test_a_block_with_one_arm_empty_pays_nothing(challenger: list[float]) -> None:
    counts = np.array([[np.array([30.0, 10.0]) - challenger, challenger]])
    payoff = settle(np.array([[[1.0, -0.1]]]), counts)
    assert payoff.log_e.tolist() == [[0.0]]


def test_a_constant_in_the_log_ratio_pays_nothing() -> None:
    counts = np.array([[[100.0, 40.0, 60.0], [12.0, 9.0, 3.0]]])
    plain, raised = settle(np.array([[[0.3, 0.0, -0.2], [1.3, 1.0, 0.8]]]), counts).log_e[0]
    assert plain == pytest.approx(raised, abs=1e-6)
