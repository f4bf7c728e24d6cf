"""The mean of what was measured, and how far the truth may be from it: one bound for drops, scores and gaps.

Pure; imports numpy inside. `judgement` calls it.

A pair is one case: the champion's score minus the challenger's, each the share of its answers that passed, so between
-1 and 1. Copies and repeats of a case stand or fall together, hence a case is one pair however often it was asked.
The bound is Gaffke's: weigh the pairs at random (Dirichlet, all ones), with one more pair at the far end of the scale,
and take the quantile of the weighted mean. For pairs that are lost or equal it *is* the Clopper-Pearson bound; for
fractions and for gains beside losses it uses the variance that is there, where a plain bootstrap of n equal pairs would
claim certainty. Source: Gaffke 2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a
nonnegative variable"; Learned-Miller and Thomas 2019, arXiv:1905.06208, with evidence that it covers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

METHOD = "one-sided Gaffke bounds over cases (Clopper-Pearson where no pair gained)"
CASES_SOUGHT_MAX = 100_000
_DRAWS = 20_000
_TAIL_DRAWS, _TAIL_DRAWS_MIN, _CELLS_MAX = 100, 10, 4_000_000
_SEED = 20_051
_ROUNDING = 1e-9
_GRID = 200
"""Values are put on a grid of 1/200, outwards, when there are more different ones than the grid has places."""


@dataclass(frozen=True)
class Sure:
    """How sure each bound is: `convicts` that the truth is not below `low`, `acquits` that it is not above `high`."""

    convicts: float
    acquits: float


@dataclass(frozen=True)
class Bounds:
    """A mean of `cases` values. The truth lies beyond `low`, and beyond `high`, no more often than `Sure` allows."""

    value: float
    low: float
    high: float
    cases: int


def exactly(values: Sequence[float]) -> Bounds:
    """Return the mean of values that are the whole population: nothing is uncertain."""
    value = math.fsum(values) / len(values)
    return Bounds(value, value, value, len(values))


def bounded(values: Sequence[float], sure: Sure, *, floor: float = -1.0) -> Bounds:
    """Return the mean of a sample of values between `floor` and 1, with its bounds."""
    counts = {value: float(count) for value, count in Counter(values).items()}
    value = math.fsum(values) / len(values)
    low, high = _low(counts, sure.convicts, floor), _high(counts, sure.acquits)
    return Bounds(value, min(low, value), max(high, value), len(values))


def above(bounds: Bounds, limit: float) -> bool | None:
    """Return whether the truth is above `limit`, None where the bounds do not tell. Rounding is no drop."""
    if bounds.low > limit + _ROUNDING:
        return True
    return False if bounds.high <= limit + _ROUNDING else None


def cases_needed(values: Sequence[float], sure: Sure, limit: float) -> int | None:
    """Return how many cases would decide against `limit` if they went as these did; None if hardly any number would.

    The search is over the same shares of a larger suite, so it is a forecast, not a promise.
    """
    shares = {value: count / len(values) for value, count in Counter(values).items()}

    def enough(cases: int) -> bool:
        counts = {value: share * cases for value, share in shares.items()}
        return _low(counts, sure.convicts, -1.0) > limit or _high(counts, sure.acquits) <= limit

    few, many = len(values), 2 * len(values)
    while not enough(many):
        few, many = many, 2 * many
        if many > CASES_SOUGHT_MAX:
            return None
    while many - few > max(1, few // 100):
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _low(counts: Mapping[float, float], confidence: float, floor: float) -> float:
    """Return the lower bound as the mirrored upper one: `x` becomes `floor + 1 - x`, which has the same range."""
    return floor + 1.0 - _high({floor + 1.0 - value: n for value, n in counts.items()}, confidence)


def _high(counts: Mapping[float, float], confidence: float) -> float:
    """Return the upper bound on the mean of values up to 1 that occur `counts` times; a count may be a fraction."""
    import numpy as np

    if len(counts) == 1:  # all equal: the weight of the far end has a closed form
        (value, cases), *_ = counts.items()
        left: float = (1.0 - confidence) ** (1.0 / cases)
        return value + (1.0 - value) * (1.0 - left)
    on_grid = len(counts) > 2 * _GRID
    binned: dict[float, float] = {}
    for value, cases in sorted(counts.items()):
        place = min(1.0, math.ceil(value * _GRID) / _GRID) if on_grid else value
        binned[place] = binned.get(place, 0.0) + cases
    points, shapes = np.array([*binned, 1.0]), np.array([*binned.values(), 1.0])
    tail = 1.0 - confidence
    draws = min(max(_DRAWS, math.ceil(_TAIL_DRAWS / tail)), max(_DRAWS, _CELLS_MAX // len(shapes)))
    if draws * tail < _TAIL_DRAWS_MIN:
        return 1.0  # too small a chance for so many different values: the far end bounds any mean
    weights = np.random.default_rng(_SEED).standard_gamma(shapes, size=(draws, len(shapes)))
    means = weights @ points / weights.sum(axis=1)
    return float(np.quantile(means, confidence))
