"""Confidence intervals for what two arms showed: ratios of percentiles by paired block bootstrap, rates by Newcombe.

Imports numpy. Pure: the random generator is given. Called by the comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_CELLS_MAX = 4_000_000


@dataclass(frozen=True)
class Tails:
    """The chance of error at each end of an interval: below `low`, above `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds between which it lies with the stated confidence."""

    value: float
    low: float
    high: float


def percentile_ratio(
    challenger: Floats, champion: Floats, *, percent: float, tails: Tails, resamples: int, rng: np.random.Generator
) -> Interval:
    """Return challenger's percentile over champion's. The arrays are paired by row and in the order of time, [N].

    Rows are drawn in blocks of neighbours, the same blocks for both arms: what hit both at once cancels, and latency
    that is alike from one second to the next does not make the interval look narrower than it is.
    Source: Politis and Romano (1992), A circular block-resampling procedure for stationary data.
    """
    drawn = _draw(np.log(np.stack([challenger, champion])), percent, resamples=resamples, rng=rng)
    value = float(np.percentile(challenger, percent) / np.percentile(champion, percent))
    low, high = np.quantile(drawn[0] - drawn[1], (tails.low, 1 - tails.high))
    return Interval(value, float(np.exp(low)), float(np.exp(high)))


def percentile_interval(
    values: Floats, *, percent: float, tails: Tails, resamples: int, rng: np.random.Generator
) -> Interval:
    """Return a percentile of `values`, which are in the order of time, [N], by the same block bootstrap."""
    drawn = _draw(values[None, :], percent, resamples=resamples, rng=rng)[0]
    low, high = np.quantile(drawn, (tails.low, 1 - tails.high))
    return Interval(float(np.percentile(values, percent)), float(low), float(high))


def rate_interval(failed: int, total: int, tails: Tails) -> Interval:
    """Return a share with Wilson's score interval, which is right for no failures too. `total` is at least 1."""
    return Interval(failed / total, _wilson(failed, total, tails.low)[0], _wilson(failed, total, tails.high)[1])


def rate_difference(challenger: tuple[int, int], champion: tuple[int, int], tails: Tails) -> Interval:
    """Return challenger's share of failures minus champion's; each pair is (failed, total), totals at least 1.

    Source: Newcombe (1998), Interval estimation for the difference between independent proportions, method 10.
    """
    (k1, n1), (k2, n2) = challenger, champion
    p1, p2 = k1 / n1, k2 / n2
    low1, _ = _wilson(k1, n1, tails.low)
    _, high2 = _wilson(k2, n2, tails.low)
    _, high1 = _wilson(k1, n1, tails.high)
    low2, _ = _wilson(k2, n2, tails.high)
    low = p1 - p2 - math.hypot(p1 - low1, high2 - p2)
    high = p1 - p2 + math.hypot(high1 - p1, p2 - low2)
    return Interval(p1 - p2, low, high)


def _wilson(failed: int, total: int, tail: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(1 - tail)
    middle = (failed + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(failed * (total - failed) / total + z * z / 4)
    return 0.0 if failed == 0 else middle - half, 1.0 if failed == total else middle + half


def _draw(table: Floats, percent: float, *, resamples: int, rng: np.random.Generator) -> Floats:
    """Return the percentile of every row of `table` [A, N] in every resample, [A, resamples]."""
    arms, count = table.shape
    block = max(1, round(count ** (1 / 3)))
    blocks = -(-count // block)
    step = max(1, _CELLS_MAX // (arms * count))
    parts = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        begins = rng.integers(0, count, size=(size, blocks, 1))
        rows = ((begins + np.arange(block)) % count).reshape(size, -1)[:, :count]
        parts.append(np.percentile(table[:, rows], percent, axis=2))
    return np.concatenate(parts, axis=1)
