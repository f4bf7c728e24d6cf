"""What was measured: the batches by scenario, and figures with their 95 % interval and what they must reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.bench.judge.runs import Outcome, join
from tests.bench.judge.traffic import Array
from tests.bench.judge.work import Batch


class NotMeasured(Exception):
    """A scenario that a figure needs has no runs yet."""


@dataclass(frozen=True)
class Figure:
    """One measured figure; `limit` is what it must reach, None where nothing is asked, and `high_max` the interval."""

    group: str
    name: str
    value: float
    low: float
    high: float
    runs: int
    unit: str = "%"
    limit: float | None = None
    at_least: bool = False
    high_max: float | None = None

    @property
    def met(self) -> bool | None:
        """Say whether the measured value reaches its limit; None where there is none."""
        if self.limit is None:
            return None
        if self.at_least:
            return self.value >= self.limit
        return self.value <= self.limit and (self.high_max is None or self.high <= self.high_max)


class Results:
    """The batches of a bench by case name, and what can be asked of them."""

    def __init__(self, batches: list[Batch]) -> None:
        self.by_name: dict[str, list[Batch]] = {}
        for batch in batches:
            self.by_name.setdefault(batch.case.name, []).append(batch)

    def judged(self, name: str) -> Outcome:
        """Return the judge's outcome in a case."""
        return join([batch.judged for batch in self._batches(name)])

    def kayenta(self, name: str) -> Outcome:
        """Return Kayenta's outcome in a case with peers."""
        return join([batch.kayenta for batch in self._batches(name) if batch.kayenta is not None])

    def mean_over(self, name: str, read: Callable[[Batch], Array | None]) -> Array:
        """Return a mean a configuration, batches weighted by their runs."""
        batches = self._batches(name)
        parts = [(read(batch), len(batch.judged.exposed)) for batch in batches]
        total = sum(size for _, size in parts)
        mean: Array = np.sum([part * size for part, size in parts if part is not None], 0) / total
        return mean

    def _batches(self, name: str) -> list[Batch]:
        if name not in self.by_name:
            raise NotMeasured(name)
        return self.by_name[name]


def proportion(
    group: str,
    name: str,
    hits: float,
    runs: int,
    *,
    limit: float | None = None,
    at_least: bool = False,
    high_max: float | None = None,
) -> Figure:
    """Return a proportion in percent with Wilson's interval, whose upper end may be asked to stay below `high_max`."""
    z, p = 1.96, hits / runs
    centre, spread = p + z * z / (2 * runs), z * math.sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs))
    low, high = ((centre - spread) / (1 + z * z / runs), (centre + spread) / (1 + z * z / runs))
    return Figure(group, name, 100 * p, 100 * max(low, 0.0), 100 * high, runs, "%", limit, at_least, high_max)


def mean(group: str, name: str, values: Array) -> Figure:
    """Return a mean of requests with its normal interval."""
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    centre = float(values.mean())
    return Figure(group, name, centre, centre - half, centre + half, len(values), unit="requests")


def ratio(group: str, name: str, above: Array, below: Array, limit: float | None = None) -> Figure:
    """Return the ratio of two means with its delta-method interval."""
    value = float(above.mean() / below.mean())
    relative = sum(float(x.var()) / len(x) / float(x.mean()) ** 2 for x in (above, below))
    half = 1.96 * value * math.sqrt(relative)
    return Figure(group, name, value, value - half, value + half, len(below), "x", limit, True)
