"""What a load showed, in figures that people, the gate and the ledger read; plain data that turns into JSON.

Imports numpy, `loadtests.columns`, `loadtests.engine` and `loadtests.profile`. Called after a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from loadtests.columns import Columns, Floats, columns_of, gaps_ms, good_rows, late_limit_ms, measured
from loadtests.engine import LoadRun
from loadtests.profile import Slo

SAMPLES_MIN = 20
_BINS_MAX = 120
_EXAMPLES = 5


@dataclass(frozen=True)
class Spread:
    """A distribution in milliseconds; every figure is None when there are no samples."""

    samples: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class TimeBin:
    """One slice of the load, `at_s` is its beginning. Latencies in milliseconds, None when nothing was measured."""

    at_s: float
    requests: int
    failed: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None


@dataclass(frozen=True)
class ArmResult:
    """One target's figures. Rates are per second of `duration_s`; `failures` counts requests by outcome.

    `itl_ms` is over requests (each one's mean time between tokens), `gap_ms` over all token gaps. `goodput_*` are
    requests within every latency of the SLO, None when the SLO promises no latency.
    """

    target: str
    origin: str
    slot: str | None
    requests: int
    ok: int
    error_rate: float | None
    failures: Mapping[str, int]
    examples: tuple[str, ...]
    offered_rps: float
    goodput_rps: float
    goodput_share: float | None
    output_tokens_per_s: float
    ttft_ms: Spread
    itl_ms: Spread
    gap_ms: Spread
    e2e_ms: Spread
    in_flight_max: int
    timeline: tuple[TimeBin, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class LoadResult:
    """A load's figures. `late` says that the generator itself was so late that the figures are not the targets'."""

    profile: str
    outcome: str
    code: str | None
    reason: str
    duration_s: float
    lag_p99_ms: float
    late: bool
    cut: bool
    arms: tuple[ArmResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def result_of(run: LoadRun) -> LoadResult:
    """Return the figures of a run."""
    arms = tuple(_arm_result(run, index) for index in range(len(run.arms)))
    lag_ms = float(np.percentile(run.lags_s, 99) * 1e3) if run.lags_s else 0.0
    return LoadResult(
        profile=run.profile.profile,
        outcome=run.outcome,
        code=run.code,
        reason=run.reason,
        duration_s=run.profile.duration_s,
        lag_p99_ms=round(lag_ms, 3),
        late=lag_ms > late_limit_ms(run),
        cut=run.cut,
        arms=arms,
    )


def spread_of(values: Floats) -> Spread:
    """Return the distribution of `values`; NaN is no value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Spread(0)
    p50, p90, p95, p99 = (round(float(x), 3) for x in np.percentile(known, (50, 90, 95, 99)))
    return Spread(len(known), round(float(known.mean()), 3), p50, p90, p95, p99, round(float(known.max()), 3))


def slo_breaches(arm: ArmResult, slo: Slo) -> tuple[str, ...]:
    """Return a sentence for each promise of `slo` that the point estimates break; too few samples break it too."""
    if arm.requests < SAMPLES_MIN:
        return (f"only {arm.requests} requests were measured, {SAMPLES_MIN} are needed",)
    pairs = (
        ("ttft_p95_ms", slo.ttft_p95_ms, arm.ttft_ms.p95),
        ("itl_p95_ms", slo.itl_p95_ms, arm.itl_ms.p95),
        ("e2e_p95_ms", slo.e2e_p95_ms, arm.e2e_ms.p95),
        ("error_rate", slo.error_rate, arm.error_rate),
    )
    broken = []
    for name, limit, value in pairs:
        if limit is not None and (value is None or value > limit):
            broken.append(f"{name} {'has no samples' if value is None else f'{value:.4g}'}, the SLO is {limit:g}")
    return tuple(broken)


def _arm_result(run: LoadRun, index: int) -> ArmResult:
    columns = columns_of(run, index)
    target, seconds = run.targets[index], _seconds(run)
    failed = [stream for stream in measured(run, index) if not stream.ok]
    good = int(good_rows(columns, run.profile.slo).sum())
    return ArmResult(
        target=target.name,
        origin=target.origin,
        slot=target.slot,
        requests=len(columns),
        ok=int(columns.ok.sum()),
        error_rate=len(failed) / len(columns) if len(columns) else None,
        failures=dict(sorted(Counter(str(stream.outcome) for stream in failed).items())),
        examples=tuple(dict.fromkeys(f"{stream.outcome}: {stream.detail}" for stream in failed))[:_EXAMPLES],
        offered_rps=round(len(columns) / seconds, 3),
        goodput_rps=round(good / seconds, 3),
        goodput_share=round(good / len(columns), 5) if len(columns) else None,
        output_tokens_per_s=round(float(columns.tokens.sum()) / seconds, 2),
        ttft_ms=spread_of(columns.ttft_ms),
        itl_ms=spread_of(columns.itl_ms),
        gap_ms=spread_of(gaps_ms(run, index)),
        e2e_ms=spread_of(columns.e2e_ms),
        in_flight_max=run.in_flight_max[index],
        timeline=timeline_of(columns, run.profile.duration_s),
    )


def timeline_of(columns: Columns, duration_s: float) -> tuple[TimeBin, ...]:
    """Return the load in slices of at least a second, at most 120 of them."""
    width = max(1.0, duration_s / _BINS_MAX)
    slot = np.floor(columns.at_s / width).astype(np.int64)
    bins = []
    for number in np.unique(slot):
        rows = columns.take(np.flatnonzero(slot == number))
        spread = spread_of(rows.ttft_ms)
        failed = int((~rows.ok).sum())
        bins.append(TimeBin(round(float(number) * width, 3), len(rows), failed, spread.p50, spread.p95))
    return tuple(bins)


def _seconds(run: LoadRun) -> float:
    """Return the time that rates are divided by: the planned one, or what there was of it."""
    return max(1e-9, min(run.profile.duration_s, run.ended - run.began))
