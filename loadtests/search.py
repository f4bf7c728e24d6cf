"""Finds the highest rate at which a target keeps its SLO, so that capacity in a plan is measured rather than guessed.

Imports the modules of `loadtests`. Called by the load gate and by `python -m loadtests`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from loadtests.engine import Hooks, run_load
from loadtests.profile import Profile, Search, at_rate
from loadtests.result import SAMPLES_MIN, LoadResult, result_of, slo_breaches
from loadtests.target import Target

_PROBE_REQUESTS = 2 * SAMPLES_MIN  # Poisson arrivals then fall below SAMPLES_MIN in one probe of 5,000
_PROBE_MAX_S = 600.0


@dataclass(frozen=True)
class Probe:
    """One rate that was tried. `breaches` says which promises of the SLO it broke; empty when it kept all."""

    rate_rps: float
    goodput_rps: float
    ttft_p95_ms: float | None
    error_rate: float | None
    breaches: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Return whether the SLO was kept."""
        return not self.breaches


@dataclass(frozen=True)
class Capacity:
    """The highest rate that kept the SLO (None: not even the lowest), and every probe in the order of trial.

    `bounded_by` says what ended the search: `tolerance`, `max_rps`, `min_rps`, `probes_max`, or `stopped` with `reason`
    when a run was aborted: `rate_rps` is then only what had been shown by then.
    """

    rate_rps: float | None
    bounded_by: str
    reason: str
    probes: tuple[Probe, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


async def find_capacity(
    profile: Profile, target: Target, *, folder: Path = Path(), hooks: Hooks | None = None
) -> Capacity:
    """Probe rates: double from `min_rps` until the SLO breaks, then bisect until the bracket is within `tolerance`.

    A probe takes `probe_seconds`. A generator that was itself late ends the search, because the figure would be its
    own and not the target's; so does a probe of too few requests.

    Raises:
        SluiceError: `LOAD-030` the profile has no `search` block; others as `run_load`.
    """
    if profile.search is None:
        raise SluiceError(
            "LOAD-030",
            where=profile.profile,
            what="the profile has no `search` block",
            why="the search needs to know where to begin and where to stop",
            do="add `search: {min_rps: 1, max_rps: 200}`",
        )
    search = profile.search

    async def measure(rate_rps: float) -> LoadResult:
        probed = at_rate(profile, rate_rps, probe_seconds(search, rate_rps))
        return result_of(await run_load(probed, (target,), folder=folder, hooks=hooks))

    return await bracket(search, profile, measure)


def probe_seconds(search: Search, rate_rps: float) -> float:
    """Return how long a probe takes: `probe_s`, longer where 40 requests need it, ten minutes at most."""
    return max(search.probe_s, min(_PROBE_MAX_S, _PROBE_REQUESTS / rate_rps))


async def bracket(search: Search, profile: Profile, measure: Callable[[float], Awaitable[LoadResult]]) -> Capacity:
    """Run the search itself; `measure` returns the figures of a load at a rate."""
    low, high, rate = 0.0, float("inf"), search.min_rps
    probes: list[Probe] = []
    while len(probes) < search.probes_max:
        result = await measure(rate)
        if why := _unusable(result):
            return Capacity(low or None, "stopped", why, tuple(probes))
        probe = _probe_of(rate, result, profile)
        probes.append(probe)
        low, high = (rate, high) if probe.kept else (low, rate)
        if done := _settled(search, low, high):
            return Capacity(low or None, done, "", tuple(probes))
        rate = min(search.max_rps, 2 * low) if high == float("inf") else (low * high) ** 0.5
    return Capacity(low or None, "probes_max", "", tuple(probes))


def _settled(search: Search, low: float, high: float) -> str | None:
    if low == 0.0:
        return "min_rps"
    if low >= search.max_rps:
        return "max_rps"
    return "tolerance" if high / low <= 1 + search.tolerance else None


def _unusable(result: LoadResult) -> str | None:
    """Return why a run says nothing about the rate; giving up on a target that only fails does say something."""
    if result.outcome == "aborted":
        return f"{result.code}: {result.reason}"
    if result.late:
        return f"the generator was {result.lag_p99_ms:.1f} ms late at the 99th percentile; use more machines"
    if result.outcome == "completed" and result.arms[0].requests < SAMPLES_MIN:
        return f"only {result.arms[0].requests} requests were measured, {SAMPLES_MIN} are needed"
    return None


def _probe_of(rate_rps: float, result: LoadResult, profile: Profile) -> Probe:
    arm = result.arms[0]
    breaches = slo_breaches(arm, profile.slo)
    if result.outcome == "given_up":
        breaches = (f"{result.code}: {result.reason}", *breaches)
    return Probe(rate_rps, arm.goodput_rps, arm.ttft_ms.p95, arm.error_rate, breaches)
