"""A figure that is known between two bounds: what an estimate honestly is. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, both included; equal when the figure is exact."""

    low: float
    high: float

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Interval) -> Interval:
        return Interval(self.low - other.high, self.high - other.low)

    def scaled(self, factor: float) -> Interval:
        """Return the interval times a factor that is not negative."""
        return Interval(self.low * factor, self.high * factor)

    def mapped(self, rising: Callable[[float], float]) -> Interval:
        """Return what a function that never falls makes of both bounds."""
        return Interval(rising(self.low), rising(self.high))


def exactly(value: float) -> Interval:
    """Return the interval of a figure without doubt."""
    return Interval(value, value)


def gib(value: Interval) -> Interval:
    """Return bytes in GiB, rounded to a hundredth."""
    return Interval(round(value.low / GIB, 2), round(value.high / GIB, 2))
