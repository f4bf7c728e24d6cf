"""When requests start: seconds after the load's beginning, sorted, drawn from a seed; answers change nothing.

Imports numpy, `loadtests.profile` and `loadtests.trace`. Called by `loadtests.workload`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.profile import Arrivals, Constant, Poisson, Ramp, Spike, Trace
from loadtests.trace import TraceLine, read_trace

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Arrival times in seconds, ascending, [N]; `trace` holds the recorded lines behind them, or nothing."""

    at_s: Floats
    trace: tuple[TraceLine, ...] = ()


def schedule(arrivals: Arrivals, duration_s: float, *, rng: np.random.Generator, folder: Path) -> Schedule:
    """Return every arrival in `[0, duration_s)`. `folder` is where a trace's relative file name begins.

    Raises:
        SpecError: `LOAD-007` a trace cannot be read or has bad lines.
    """
    match arrivals:
        case Poisson(rate_rps=rate):
            return Schedule(_poisson(rate * duration_s, rng) * duration_s)
        case Constant(rate_rps=rate):
            return Schedule(np.arange(0.0, duration_s, 1.0 / rate))
        case Ramp(from_rps=low, to_rps=high):
            return Schedule(_ramp(low, high, duration_s, rng))
        case Spike() as spike:
            return Schedule(_spike(spike, duration_s, rng))
        case Trace():
            return _trace(arrivals, duration_s, folder)


def _poisson(expected: float, rng: np.random.Generator) -> Floats:
    """Return a Poisson number of points, uniform in [0, 1) and sorted: a Poisson process over the unit interval."""
    return np.sort(rng.random(rng.poisson(expected)))


def _ramp(low: float, high: float, duration_s: float, rng: np.random.Generator) -> Floats:
    """Map unit-rate points through the inverse of Λ(t) = low·t + (high − low)·t²/(2·duration)."""
    area = _poisson((low + high) / 2 * duration_s, rng) * (low + high) / 2 * duration_s
    slope = (high - low) / duration_s
    if slope == 0:
        return area / low
    return np.asarray((np.sqrt(low**2 + 2 * slope * area) - low) / slope)


def _spike(spike: Spike, duration_s: float, rng: np.random.Generator) -> Floats:
    start, end = min(spike.spike_at_s, duration_s), min(spike.spike_at_s + spike.spike_s, duration_s)
    pieces = ((0.0, start, spike.rate_rps), (start, end, spike.spike_rps), (end, duration_s, spike.rate_rps))
    return np.concatenate([a + _poisson(rate * (b - a), rng) * (b - a) for a, b, rate in pieces])


def _trace(trace: Trace, duration_s: float, folder: Path) -> Schedule:
    lines = sorted(read_trace(folder / trace.file), key=lambda line: line.at_s)
    kept = tuple(line for line in lines if line.at_s / trace.speed < duration_s)
    return Schedule(np.array([line.at_s / trace.speed for line in kept]), kept)
