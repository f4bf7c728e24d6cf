"""Intervals for what two arms showed: ratios of percentiles by counting who passed them, rates by Newcombe. Pure.

Requests that are neighbours in time are alike, so nothing here takes them for independent: they are put into batches,
and the means of batches say how far a figure may be from the truth, with Student's t for the few batches that there
are. Source: Schmeiser (1982), Batch size effects in the analysis of simulation output: 10 to 30 batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
BATCHES_MAX = 30
_BATCH_MIN = 8
_MARKS, _ZOOMS = 24, 4


@dataclass(frozen=True)
class Tails:
    """The chance of error at each end of an interval: below `low`, above `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds between which it lies with the stated confidence; `high` may be infinite."""

    value: float
    low: float
    high: float


def percentile_ratio(challenger: Floats, champion: Floats, *, percent: float, tails: Tails) -> Interval:
    """Return challenger's percentile over champion's. The arrays are paired by row and in the order of time, [N].

    A ratio is ruled out when, of the pairs, more challengers pass that multiple of the champion's percentile than
    champions pass the percentile itself (or fewer). What hit both at once cancels in the difference; neither a density
    nor a shape of the latencies is assumed, and any small tail can be had, which no number of resamples gives.
    """
    mark = float(np.percentile(champion, percent))
    passed = (champion > mark).astype(np.float64)

    def excess(ratios: Floats) -> tuple[Floats, Floats]:
        return _means_and_errors((challenger[:, None] > ratios * mark) - passed[:, None])

    value = float(np.percentile(challenger, percent)) / mark
    return _inverted(value, challenger / mark, excess, tails)


def percentile_interval(values: Floats, *, percent: float, tails: Tails) -> Interval:
    """Return a percentile of `values`, which are in the order of time, [N], by the share of them that pass it."""
    share = 1 - percent / 100
    floor = math.sqrt(share * (1 - share) / len(values))  # no value above a mark still proves little about a rare share

    def excess(marks: Floats) -> tuple[Floats, Floats]:
        means, errors = _means_and_errors((values[:, None] > marks) - share)
        return means, np.maximum(errors, floor)

    return _inverted(float(np.percentile(values, percent)), values, excess, tails)


def rate_interval(failed: Bools, tails: Tails) -> Interval:
    """Return a share with Wilson's score interval, which is right for no failures too; `failed` has one or more."""
    count, total = int(failed.sum()), len(failed)
    low, high = _wilson(count, total, tails.low)[0], _wilson(count, total, tails.high)[1]
    wider = _clustering(failed.astype(np.float64))
    value = count / total
    return Interval(value, max(0.0, value - wider * (value - low)), min(1.0, value + wider * (high - value)))


def rate_difference(
    challenger: npt.NDArray[np.bool_], champion: Bools, tails: Tails, *, paired: Floats | None = None
) -> Interval:
    """Return challenger's share of failures minus champion's, both in the order of time, at least one of each.

    `paired` has the difference for each request that both were sent: failures that come in bursts widen the interval.
    Source: Newcombe (1998), Interval estimation for the difference between independent proportions, method 10.
    """
    (k1, n1), (k2, n2) = ((int(arm.sum()), len(arm)) for arm in (challenger, champion))
    p1, p2 = k1 / n1, k2 / n2
    low1, _ = _wilson(k1, n1, tails.low)
    _, high2 = _wilson(k2, n2, tails.low)
    _, high1 = _wilson(k1, n1, tails.high)
    low2, _ = _wilson(k2, n2, tails.high)
    wider = _clustering(paired) if paired is not None and len(paired) else 1.0
    low = p1 - p2 - wider * math.hypot(p1 - low1, high2 - p2)
    high = p1 - p2 + wider * math.hypot(high1 - p1, p2 - low2)
    return Interval(p1 - p2, low, high)


def student(tail: float, freedom: int) -> float:
    """Return the quantile of Student's t that is passed with chance `tail`.

    Source: Abramowitz and Stegun 26.7.5, good to a hundredth for 9 degrees of freedom or more.
    """
    z, n = NormalDist().inv_cdf(1 - tail), float(freedom)
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def batches(count: int) -> int:
    """Return into how many batches `count` values are put."""
    return max(2, min(BATCHES_MAX, count // _BATCH_MIN))


def _means_and_errors(values: Floats) -> tuple[Floats, Floats]:
    """Return means and standard errors of columns, [N, M], by batches of rows, which are in the order of time."""
    count = batches(len(values))
    size = len(values) // count
    means = values[: count * size].reshape(count, size, -1).mean(axis=1)
    return values.mean(axis=0), means.std(axis=0, ddof=1) / math.sqrt(count)


def _clustering(values: Floats) -> float:
    """Return how much wider an interval has to be because values come in bursts; 1 where they do not."""
    alone = float(values.std() / math.sqrt(len(values)))
    return max(1.0, float(_means_and_errors(values[:, None])[1][0]) / alone) if alone > 0 else 1.0


def _inverted(value: float, scale: Floats, excess: Callable[[Floats], tuple[Floats, Floats]], tails: Tails) -> Interval:
    """Return the marks that the test lets stand: `excess` gives mean and error of how many values pass each mark."""
    freedom = batches(len(scale)) - 1
    surely, hardly = student(tails.low, freedom), student(tails.high, freedom)

    def is_passed(marks: Floats) -> Bools:
        means, errors = excess(marks)
        return means > surely * errors

    def may_be_passed(marks: Floats) -> Bools:
        means, errors = excess(marks)
        return ~(means < -hardly * errors)

    low, top = _last(is_passed, 0.0, value), float(scale.max())
    high = math.inf if may_be_passed(np.array([top]))[0] else _last(may_be_passed, value, top)
    return Interval(value, low, high)


def _last(holds: Callable[[Floats], Bools], low: float, high: float) -> float:
    """Return the last mark from `low` on, below `high`, before `holds` is no longer true; looked for ever closer."""
    for _ in range(_ZOOMS):
        marks = np.linspace(low, high, _MARKS + 1)
        fails = np.flatnonzero(~holds(marks[1:]))
        step = int(fails[0]) if len(fails) else _MARKS - 1
        low, high = float(marks[step]), float(marks[step + 1])
    return low


def _wilson(failed: int, total: int, tail: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(1 - tail)
    middle = (failed + z * z / 2) / (total + z * z)
    half = z / (total + z * z) * math.sqrt(failed * (total - failed) / total + z * z / 4)
    return 0.0 if failed == 0 else middle - half, 1.0 if failed == total else middle + half
