"""A seeded simulator of LLM traffic: counts per tick and arm for many rollouts at once.

What both arms share (rate, drift, bursts, outages) is drawn
once a run; what belongs to an arm (machine noise, a cold start, a retry storm) is drawn for that arm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random import Generator, default_rng
from scipy.special import ndtr

from reconciler.core.judge.mixture import Counts
from reconciler.core.judge.outcomes import Outcomes, Rows, ended_outcomes
from reconciler.core.judge.settings import Metric

Array = npt.NDArray[np.float64]

TICK_S = 10.0
# The bounds of vLLM's vllm:time_to_first_token_seconds.
VLLM_TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip

FLAT = ((math.inf, 10.0),)
RAMP = ((120.0, 1.0), (420.0, 10.0), (math.inf, 50.0))
EVEN = ((math.inf, 50.0),)


@dataclass(frozen=True)
class Traffic:
    """What a service's traffic is like; latency is lognormal around `median_s`, one mode a (share, log offset).

    `stall_s`: so long each arm's own server answers nothing, `stalls_per_h` times; what comes meanwhile waits together.
    """

    requests_per_s: float = 20.0
    error_rate: float = 0.01
    median_s: float = 0.35
    log_sd: float = 0.62
    modes: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    drift: bool = True
    bursts: bool = True
    arm_noise: float = 0.0
    arm_memory_s: float = 60.0
    outage_ticks: int = 0
    storms: bool = False
    cold_ratio: float = 1.0
    arriving_pct: float | None = None  # what arrives, whatever weight is told
    lag_s: float = 0.0  # how long after it was told a weight is followed
    stall_s: float = 0.0
    stalls_per_h: float = 0.0


@dataclass(frozen=True)
class Release:
    """How the challenger differs: errors times `error_ratio`, all slower by `ratio`, a `share` by `tail_ratio`.

    The errors on top are a multiple of the rate under drift and bursts; what an outage adds, both arms share.
    """

    error_ratio: float = 1.0
    ratio: float = 1.0
    share: float = 0.0
    tail_ratio: float = 1.0


EQUAL = Release()
Schedule = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Recording:
    """Ticks of R runs: `weight_pct` [T] as told; `requests`, `errors`, `rejected` [T, R, 2]; cells [T, R, 2, C].

    Where requests are counted by their start, `begun` [T, R, 2] has those of each tick and `windows` what moved in it.
    `answer_s` [R] is within which time nearly all answers end.
    """

    weight_pct: Array
    requests: Array
    errors: Array
    latency: dict[Metric, npt.NDArray[Any]]
    bounds: dict[Metric, tuple[float, ...]]
    rejected: Array | None = None
    begun: Array | None = None
    windows: tuple[tuple[Rows, ...], ...] = ()
    answer_s: Array | None = None

    @property
    def sent(self) -> Array:
        """Return the challenger's requests by tick and run, [T, R]."""
        sent: Array = (self.requests if self.begun is None else self.begun)[..., 1]
        return sent

    def counts(self, k: int, rows: npt.NDArray[np.intp]) -> Counts:
        """Return one tick of the runs `rows`, as the judge takes it."""
        return Counts(
            TICK_S * (k + 1),
            TICK_S,
            float(self.weight_pct[k]),
            {metric: table[k, rows].astype(np.float64) for metric, table in self.latency.items()},
            windows=tuple(_part(row, rows) for row in self.windows[k]) if self.windows else None,
            ended=None if self.windows else self._ended(k, rows),
            answer_s=None if self.answer_s is None else self.answer_s[rows],
        )

    def _ended(self, k: int, rows: npt.NDArray[np.intp]) -> Outcomes:
        rejected = None if self.rejected is None else self.rejected[k, rows]
        return ended_outcomes(float(self.weight_pct[k]), self.requests[k, rows], self.errors[k, rows], rejected)


def _part(row: Rows, rows: npt.NDArray[np.intp]) -> Rows:
    return replace(row, counts=row.counts[rows].astype(np.float64))


def weight_at(schedule: Schedule, t_s: float) -> float:
    """Return the weight in percent that is told during the tick that ends at `t_s`."""
    return next(weight for until_s, weight in schedule if t_s <= until_s)


def simulate(
    traffic: Traffic, release: Release, schedule: Schedule, *, runs: int, seed: int, duration_s: float = 1800.0
) -> Recording:
    """Return `runs` independent rollouts of `duration_s`."""
    rng = default_rng(seed)
    ticks = round(duration_s / TICK_S)
    weights = np.array([weight_at(schedule, TICK_S * (k + 1)) for k in range(ticks)])
    arriving = np.array([_arriving(traffic, schedule, TICK_S * (k + 1)) for k in range(ticks)])
    rate, shared, usual, failing = _shared(traffic, rng, ticks, runs)
    own, stalled = _arm_noise(traffic, rng, ticks, runs), _stalled(traffic, rng, ticks, runs)
    cold = _cold(traffic, arriving)
    requests, errors = np.zeros((ticks, runs, 2)), np.zeros((ticks, runs, 2))
    ttft = np.zeros((ticks, runs, 2, len(VLLM_TTFT_BOUNDS) + 1), dtype=np.int32)
    for k in range(ticks):
        total = rng.poisson(rate[k] * TICK_S)
        challenger = rng.binomial(total, arriving[k] / 100.0)
        requests[k] = np.stack([total - challenger, challenger], -1)
        rates = np.stack([failing[k], np.minimum(failing[k] + (release.error_ratio - 1.0) * usual[k], 1.0)], -1)
        errors[k] = rng.binomial(requests[k].astype(np.int64), rates)
        for arm, worse in enumerate((EQUAL, release)):
            offset = shared[k] + own[k, :, arm] + (cold[k] if arm else 0.0)
            served = (requests[k, :, arm] - errors[k, :, arm]).astype(np.int64)
            late = rng.binomial(served, stalled[k, :, arm])
            ttft[k, :, arm] = rng.multinomial(served - late, bucket_probabilities(traffic, worse, offset))
            if late.any():
                waiting = replace(traffic, median_s=traffic.median_s + traffic.stall_s / 2.0)
                ttft[k, :, arm] += rng.multinomial(late, bucket_probabilities(waiting, worse, offset)).astype(np.int32)
    if traffic.storms:
        _add_storms(rng, arriving, requests, errors)
    return Recording(weights, requests, errors, {"ttft": ttft}, {"ttft": VLLM_TTFT_BOUNDS})


def _arriving(traffic: Traffic, schedule: Schedule, t_s: float) -> float:
    if traffic.arriving_pct is not None:
        return traffic.arriving_pct
    return weight_at(schedule, t_s - traffic.lag_s) if t_s > traffic.lag_s else 0.0


def bucket_probabilities(traffic: Traffic, release: Release, offset: Array) -> Array:
    """Return each run's bucket probabilities [R, C] when log-latency is moved by `offset` [R]."""
    grid = np.log(np.array(VLLM_TTFT_BOUNDS))
    cdf = np.zeros((len(offset), len(grid)))
    for share, log_offset in _components(traffic, release):
        centre = math.log(traffic.median_s) + log_offset + offset
        cdf += share * ndtr((grid[None, :] - centre[:, None]) / traffic.log_sd)
    edges = np.concatenate([np.zeros((len(offset), 1)), cdf, np.ones((len(offset), 1))], 1)
    cells = np.maximum(np.diff(edges, axis=1), 0.0)
    normalised: Array = cells / cells.sum(1, keepdims=True)
    return normalised


def _components(traffic: Traffic, release: Release) -> list[tuple[float, float]]:
    """Return the lognormal modes (share, log offset) of a release."""
    slow, tail = math.log(release.ratio), math.log(release.tail_ratio)
    whole = [(share * (1.0 - release.share), offset + slow) for share, offset in traffic.modes]
    late = [(share * release.share, offset + slow + tail) for share, offset in traffic.modes]
    return whole + (late if release.share else [])


def _shared(traffic: Traffic, rng: Generator, ticks: int, runs: int) -> tuple[Array, Array, Array, Array]:
    """Return what both arms live under, [T, R] each: request rate, log-latency offset, usual and present error rate."""
    t = TICK_S * np.arange(ticks)[:, None]
    rate = np.full((ticks, runs), traffic.requests_per_s)
    offset, failing = np.zeros((ticks, runs)), np.full((ticks, runs), traffic.error_rate)
    if traffic.drift:
        phase, period = rng.uniform(0, 2 * math.pi, runs), rng.uniform(3600, 14400, runs)
        day = np.sin(2 * math.pi * t / period + phase)
        rate = rate * np.exp(0.3 * day + 0.1 * wander(rng, ticks, runs, 120.0))
        offset = offset + 0.15 * day + 0.12 * wander(rng, ticks, runs, 180.0)
        failing = failing * np.exp(0.3 * wander(rng, ticks, runs, 300.0) - 0.045)
    if traffic.bursts:
        busy = _episodes(rng, ticks, runs, per_tick=1.0 / 60.0, mean_ticks=4.0)
        rate = rate * np.where(busy, 1.8, 1.0)
        offset = offset + np.where(busy, 0.5, 0.0)
        failing = np.where(busy, np.minimum(2.0 * failing, 1.0), failing)
    usual = failing
    if traffic.outage_ticks:
        start = rng.integers(6, ticks // 2, runs)
        down = (np.arange(ticks)[:, None] >= start) & (np.arange(ticks)[:, None] < start + traffic.outage_ticks)
        failing = np.where(down, 0.4, failing)
    return rate, offset, usual, failing


def _arm_noise(traffic: Traffic, rng: Generator, ticks: int, runs: int) -> Array:
    """Return each arm's own log-latency noise, [T, R, 2]."""
    if not traffic.arm_noise:
        return np.zeros((ticks, runs, 2))
    arms = [wander(rng, ticks, runs, traffic.arm_memory_s) for _ in range(2)]
    return traffic.arm_noise * np.stack(arms, -1)


def _stalled(traffic: Traffic, rng: Generator, ticks: int, runs: int) -> Array:
    """Return which share of each tick's requests comes while its arm's server stalls, [T, R, 2]."""
    stalls = rng.poisson(traffic.stalls_per_h * TICK_S / 3600.0, (ticks, runs, 2)) if traffic.stalls_per_h else 0.0
    shares: Array = np.minimum(np.zeros((ticks, runs, 2)) + stalls * traffic.stall_s / TICK_S, 1.0)
    return shares


def wander(rng: Generator, ticks: int, runs: int, memory_s: float) -> Array:
    """Return a stationary AR(1) process of variance 1, [T, R]."""
    kept = math.exp(-TICK_S / memory_s)
    steps = rng.normal(size=(ticks, runs))
    path = np.empty((ticks, runs))
    path[0] = steps[0]
    for k in range(1, ticks):
        path[k] = kept * path[k - 1] + math.sqrt(1.0 - kept**2) * steps[k]
    return path


def _episodes(rng: Generator, ticks: int, runs: int, *, per_tick: float, mean_ticks: float) -> npt.NDArray[np.bool_]:
    """Return when a two-state process is on, [T, R]."""
    on = np.zeros((ticks, runs), dtype=bool)
    draws = rng.random((ticks, runs))
    for k in range(1, ticks):
        on[k] = np.where(on[k - 1], draws[k] > 1.0 / mean_ticks, draws[k] < per_tick)
    return on


def _cold(traffic: Traffic, weights: Array) -> Array:
    """Return the challenger's log offset while it is cold: the first minute in which it gets traffic, [T]."""
    served_s = TICK_S * np.cumsum(weights > 0)
    return np.where(served_s <= 60.0, math.log(traffic.cold_ratio), 0.0)


def _add_storms(rng: Generator, weights: Array, requests: Array, errors: Array) -> None:
    """Let one sticky client in each half hour retry a failing request about 20 times within a tick, on one arm."""
    ticks, runs = requests.shape[:2]
    count = rng.poisson(ticks / 180.0, runs)
    for run in np.repeat(np.arange(runs), count):
        k = int(rng.integers(ticks))
        arm = int(rng.random() < weights[k] / 100.0)
        retries = float(rng.poisson(20))
        requests[k, run, arm] += retries
        errors[k, run, arm] += retries


def with_noise(traffic: Traffic, arm_noise: float) -> Traffic:
    """Return the same traffic on noisier machines."""
    return replace(traffic, arm_noise=arm_noise)
