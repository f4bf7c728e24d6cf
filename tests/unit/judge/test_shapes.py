"""What a slower release does to a histogram."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from reconciler.core.judge.shapes import (
    Slower,
    Stretcher,
    probabilities,
    shifted_log_ratios,
    smoothed_cdf,
    stretch_matrix,
    unmix,
)

BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def logistic_cdf(median_s: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return a log-logistic CDF at the bounds, on which the stretch is exact."""
    result: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = expit(3.0 * np.log(np.array(BOUNDS) / median_s))
    return result[None]


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.2, 2.0, 5.0])
def test_stretching_a_log_logistic_moves_its_median(factor: float) -> None:
    logit = np.log(logistic_cdf(0.3) / (1 - logistic_cdf(0.3)))
    moved = expit(logit @ stretch_matrix(BOUNDS, math.log(factor)).T)
    assert moved == pytest.approx(logistic_cdf(0.3 * factor), abs=1e-12)


def test_a_slower_release_has_more_in_the_high_cells() -> None:
    ratios = Stretcher(BOUNDS, (Slower(1.0, math.log(1.2)), Slower(0.1, math.log(2.0)))).log_ratios(logistic_cdf(0.3))
    assert (np.diff(ratios[0, 0]) > 0).all()
    assert ratios[0, 1, 0] == pytest.approx(math.log(0.9), abs=0.05)
    assert ratios[0, 1, -1] > 0.3


@pytest.mark.parametrize("bet", [Slower(1.0, 0.3), Slower(0.1, 0.7), Slower(1.0, 1.2, or_more=True)])
def test_a_shift_of_each_run_is_the_stretch_of_the_bet_shifted_so_far(bet: Slower) -> None:
    cdf, shifts = np.concatenate([logistic_cdf(0.3), logistic_cdf(0.5)]), np.array([[-0.4, 0.0], [0.02, 0.3]])
    found = shifted_log_ratios(BOUNDS, cdf, bet, shifts)
    for run, column in np.ndindex(shifts.shape):
        alone = Stretcher(BOUNDS, (replace(bet, shift=float(shifts[run, column])),)).log_ratios(cdf[run : run + 1])
        assert found[run, column] == pytest.approx(alone[0, 0], abs=1e-12)


def test_one_bound_carries_no_stretch() -> None:
    assert stretch_matrix((0.5,), math.log(2)).tolist() == [[1.0]]
    one = shifted_log_ratios((0.5,), np.array([[0.7]]), Slower(1.0, 0.3), np.array([[0.1]]))
    assert one == pytest.approx(np.zeros((1, 1, 2)))


def test_an_empty_histogram_still_has_a_cdf() -> None:
    assert smoothed_cdf(np.zeros((1, 4))).tolist() == [[0.5, 0.5, 0.5]]


def test_unmixing_recovers_the_champion() -> None:
    champion, bet = logistic_cdf(0.3), Stretcher(BOUNDS, (Slower(1.0, math.log(1.5)),))
    ratio = bet.log_ratios(champion)[:, 0]
    pooled = probabilities(champion) * (0.7 + 0.3 * np.exp(ratio))
    recovered = unmix(np.cumsum(pooled, -1)[:, :-1], np.array([0.3]), ratio)
    assert recovered == pytest.approx(champion, abs=2e-3)
