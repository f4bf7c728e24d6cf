"""Ticks: what both arms counted in one interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

Histogram = Mapping[str, float]
NOTHING: Histogram = MappingProxyType({})


@dataclass(frozen=True)
class ArmCounts:
    """One arm's counts in one tick; histograms are cumulative by upper bound in seconds (`le`), empty if unmeasured.

    `requests` are those that ended, as a gateway counts them. `rejected`: answered with "your request is wrong", which
    is no error. `itl_s`: gaps between tokens, or the mean gap of each answer; `answers`: finished answers that `itl_s`
    belongs to, None where nobody counted them. `answer_s`: whole answers.
    """

    requests: int
    errors: int
    ttft_s: Histogram = field(default_factory=lambda: NOTHING)
    itl_s: Histogram = field(default_factory=lambda: NOTHING)
    rejected: int = 0
    answers: int | None = None
    answer_s: Histogram = field(default_factory=lambda: NOTHING)


class Fates(NamedTuple):
    """What had become of the requests to one arm that began in one window: `errors` and `rejected` are of `ended`."""

    begun: int
    ended: int
    errors: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class StartWindow:
    """Requests that began between `began_s` and `began_s + window_s` under one weight, as they stood at a tick's end.

    Cumulative: the newest tick that names a window says all that is known of it. `began_s` is on the ticks' own scale,
    `weights` the gateway's name for the split.
    """

    began_s: float
    window_s: float
    weight_pct: float
    champion: Fates
    challenger: Fates
    weights: str = ""


@dataclass(frozen=True)
class Tick:
    """Both arms' counts in the tick that ended at `t_s`, and the challenger's weight that was asked for (0 to 100).

    `since_s`: when this weight came into force; None is the start of the first tick that has it. `cohorts`: the windows
    whose counts moved, None where the gateway does not know when requests began.
    """

    t_s: float
    weight_pct: float
    champion: ArmCounts
    challenger: ArmCounts
    since_s: float | None = None
    cohorts: tuple[StartWindow, ...] | None = None


def bounds_of(histogram: Histogram) -> tuple[float, ...]:
    """Return the finite upper bounds in seconds, ascending."""
    return tuple(sorted(bound for bound in map(float, histogram) if math.isfinite(bound)))


def cells(histogram: Histogram, bounds: tuple[float, ...]) -> list[float]:
    """Return the counts between `bounds`, one more than there are bounds; the histogram must hold each of them."""
    by_bound = {float(le): count for le, count in histogram.items()}
    cumulative = [by_bound[bound] for bound in (*bounds, math.inf)]
    return [high - low for low, high in zip([0.0, *cumulative], cumulative, strict=False)]
