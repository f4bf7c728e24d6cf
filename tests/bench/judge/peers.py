"""The judge's peers, from their documentation: fixed and ratio thresholds, Mann-Whitney as Kayenta uses it, the SPRT.

Each gets both an error rule and a latency rule, and rolls back on either.
Sources: Flagger `analysis.interval/threshold/metrics`; Argo Rollouts `AnalysisTemplate` `interval`, `failureLimit`;
Kayenta `NetflixACAJudge` (Mann-Whitney, confidence 0.98, tolerance 0.25 of the Hodges-Lehmann shift); Wald (1945).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from numpy.random import default_rng

from reconciler.core.judge.bets import settle
from tests.bench.judge.runs import NEVER, Outcome, exposed_until
from tests.bench.judge.traffic import (
    TICK_S,
    VLLM_TTFT_BOUNDS,
    Array,
    Recording,
    Release,
    Traffic,
    bucket_probabilities,
    simulate,
)

Flags = npt.NDArray[np.bool_]

QUANTILE = 0.95
SAMPLES_MIN = 20  # a check with fewer challenger requests is skipped, as no data is no failure


@dataclass(frozen=True)
class Checks:
    """What a metric query answers at each check, [K, R, 2]: error rate and p95; `enough` says where there was data."""

    at_s: Array
    error_rate: Array
    p95_s: Array
    enough: Flags


def checks_of(recording: Recording, interval_s: float) -> Checks:
    """Return the queries a controller makes each `interval_s` over the window since the last check."""
    step = round(interval_s / TICK_S)
    count = len(recording.requests) // step
    requests, errors, ttft = (
        part[: count * step].reshape(count, step, *part.shape[1:]).sum(1)
        for part in (recording.requests, recording.errors, recording.latency["ttft"])
    )
    rate = errors / np.maximum(requests, 1.0)
    at_s = interval_s * np.arange(1, count + 1)
    return Checks(at_s, rate, histogram_quantile(QUANTILE, ttft), requests[..., 1] >= SAMPLES_MIN)


def histogram_quantile(quantile: float, cells: Array) -> Array:
    """Return the quantile as Prometheus interpolates it, linear inside a bucket; the last finite bound above it."""
    edges = np.array([0.0, *VLLM_TTFT_BOUNDS])
    cumulative = np.concatenate([np.zeros((*cells.shape[:-1], 1)), np.cumsum(cells, -1)], -1)
    rank = quantile * cumulative[..., -1:]
    index = np.clip((cumulative < rank).sum(-1) - 1, 0, len(edges) - 2)
    low = np.take_along_axis(cumulative, index[..., None], -1)[..., 0]
    high = np.take_along_axis(cumulative, index[..., None] + 1, -1)[..., 0]
    part = np.clip((rank[..., 0] - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
    answer: Array = edges[index] + part * (edges[index + 1] - edges[index])
    return answer


@dataclass(frozen=True)
class Thresholds:
    """One configuration: roll back on the `failures_max`-th failed check of a metric.

    `ratio`: the limits are multiples of the champion's figure instead of absolute ones.
    """

    interval_s: float
    error_limit: float
    latency_limit: float
    failures_max: int
    ratio: bool


def grid(*, ratio: bool) -> Iterator[Thresholds]:
    """Yield the configurations that are tuned over."""
    errors = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0) if ratio else (0.015, 0.02, 0.025, 0.03, 0.04, 0.06, 0.08, 0.12)
    latencies = (1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0) if ratio else (1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 4.0)
    for interval_s, error, slow, failures in product((60.0, 120.0, 300.0), errors, latencies, (1, 2, 3, 5, 8, 12)):
        yield Thresholds(interval_s, error, slow, failures, ratio)


def stops(checks: Checks, rule: Thresholds) -> Array:
    """Return when `rule` rolls each run back, inf for never."""
    bad_errors, bad_latency = _breaches(checks, rule)
    fired = (np.cumsum(bad_errors, 0) >= rule.failures_max) | (np.cumsum(bad_latency, 0) >= rule.failures_max)
    first = np.argmax(fired, 0)
    return np.where(fired.any(0), checks.at_s[first], NEVER)


def _breaches(checks: Checks, rule: Thresholds) -> tuple[Flags, Flags]:
    error, slow = checks.error_rate[..., 1], checks.p95_s[..., 1]
    error_limit = rule.error_limit * (np.maximum(checks.error_rate[..., 0], 1e-4) if rule.ratio else 1.0)
    latency_limit = rule.latency_limit * (checks.p95_s[..., 0] if rule.ratio else 1.0)
    return checks.enough & (error > error_limit), checks.enough & (slow > latency_limit)


def kayenta(recording: Recording, every_s: float = 600.0) -> Outcome:
    """Judge as Kayenta does: a point a minute and arm, Mann-Whitney at each interval over all points so far."""
    checks = checks_of(recording, 60.0)
    stopped = np.full(recording.requests.shape[1], NEVER)
    for end_s in np.arange(every_s, checks.at_s[-1] + 1.0, every_s):
        count = round(end_s / 60.0)
        high = _high(checks.error_rate[:count]) | _high(checks.p95_s[:count])
        stopped = np.where(high & np.isinf(stopped), end_s, stopped)
    return Outcome(stopped, np.full_like(stopped, NEVER), exposed_until(recording, stopped))


def _high(points: Array) -> Flags:
    """Say for which runs the challenger's points [K, R, 2] classify as High: low end beyond tolerance."""
    count = len(points)
    shifts = np.sort((points[:, None, :, 1] - points[None, :, :, 0]).reshape(count * count, -1), 0)
    centre = 0.5 * (shifts[(count * count - 1) // 2] + shifts[count * count // 2])
    rank = count * count / 2.0 - 2.326 * math.sqrt(count * count * (2 * count + 1) / 12.0)
    low = shifts[max(math.floor(rank), 0)] if rank >= 0 else np.full(points.shape[1], -np.inf)
    high: Flags = low > 0.25 * np.abs(centre)
    return high


def sprt_exposed(traffic: Traffic, release: Release, weight_pct: float, *, alpha: float, runs: int, seed: int) -> Array:
    """Return the challenger requests that Wald's test needs, both distributions known, looking once a tick, [R].

    Cut at half an hour as the judge's figures are; only for traffic without drift, where a distribution can be known.
    """
    rng = default_rng(seed)
    ticks = 180
    served = rng.poisson(traffic.requests_per_s * TICK_S * weight_pct / 100.0, (ticks, runs))
    paid = np.zeros((ticks, runs))
    if release.error_ratio != 1.0:
        p0, p1 = traffic.error_rate, traffic.error_rate * release.error_ratio
        failed = rng.binomial(served, p1)
        paid = failed * math.log(p1 / p0) + (served - failed) * math.log((1 - p1) / (1 - p0))
    else:
        size = int(served.max())
        for k in range(ticks):
            mask = np.arange(size) < served[k][:, None]
            paid[k] = (mask * _latency_log_ratio(rng, traffic, release, (runs, size))).sum(1)
    crossed = np.cumsum(paid, 0) >= -math.log(alpha)
    last = np.where(crossed.any(0), np.argmax(crossed, 0), ticks - 1)
    exposed: Array = np.take_along_axis(np.cumsum(served, 0), last[None], 0)[0].astype(np.float64)
    return exposed


def _latency_log_ratio(rng: np.random.Generator, traffic: Traffic, release: Release, shape: tuple[int, int]) -> Array:
    """Return log p1/p0 of latencies drawn from the release, one lognormal mode."""
    slow, tail = math.log(release.ratio) / traffic.log_sd, math.log(release.tail_ratio) / traffic.log_sd
    x = rng.normal(size=shape) + slow + tail * (rng.random(shape) < release.share)
    main = np.exp(slow * x - slow**2 / 2.0)
    late = np.exp((slow + tail) * x - (slow + tail) ** 2 / 2.0)
    ratio: Array = np.log((1.0 - release.share) * main + release.share * late)
    return ratio


def bucket_bound(traffic: Traffic, release: Release, weight_pct: float, *, alpha: float, runs: int, seed: int) -> Array:
    """Return the challenger requests that bucket counts allow, the alternative known but no trusted baseline, [R].

    The bet is the judge's own, on the true log ratios, with all of alpha.
    """
    recording = simulate(traffic, release, ((math.inf, weight_pct),), runs=runs, seed=seed)
    p0, p1 = (bucket_probabilities(traffic, law, np.zeros(1))[0] for law in (Release(), release))
    table = np.broadcast_to(np.log((p1 + 1e-12) / (p0 + 1e-12)), (runs, 1, len(p0)))
    paid = np.stack([settle(table, cells.astype(np.float64)).log_e[:, 0] for cells in recording.latency["ttft"]])
    return exposed_until(recording, first_time(np.cumsum(paid, 0) >= -math.log(alpha)))


def first_time(crossed: Flags) -> Array:
    """Return when each run [T, R] first crossed, in seconds; inf for never."""
    return np.where(crossed.any(0), TICK_S * (np.argmax(crossed, 0) + 1), NEVER)
