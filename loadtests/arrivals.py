"""When requests start: seconds after the load's beginning, sorted, drawn from a seed; answers change nothing.

Imports numpy and `loadtests.profile`. Called by `loadtests.workload`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from environments.errors import Problem, SpecError
from loadtests.profile import Arrivals, Constant, Poisson, Ramp, Spike, Trace

Floats = npt.NDArray[np.float64]


class TraceLine(BaseModel):
    """One recorded arrival. Token counts are None where the recording has none: the profile's lengths are drawn."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at_s: float = Field(ge=0)
    prompt_tokens: int | None = Field(default=None, ge=1)
    output_tokens: int | None = Field(default=None, ge=1)


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


def read_trace(path: Path) -> list[TraceLine]:
    """Return the recorded arrivals of a file, in its order.

    Raises:
        SpecError: `LOAD-007` it cannot be read, is empty or has bad lines.
    """
    do = 'write a JSON object a line: {"at_s": 0.31, "prompt_tokens": 120, "output_tokens": 48}'
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([Problem(str(path), "LOAD-007", "the trace cannot be read", str(error), do)]) from None
    lines: list[TraceLine] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            lines.append(TraceLine.model_validate(json.loads(row)))
        except (json.JSONDecodeError, ValidationError) as error:
            why = str(error).splitlines()[0]
            problems.append(Problem(f"{path}:{number}", "LOAD-007", "not a recorded arrival", why, do))
    if problems or not lines:
        raise SpecError(problems or [Problem(str(path), "LOAD-007", "the trace is empty", "", do)])
    return lines
