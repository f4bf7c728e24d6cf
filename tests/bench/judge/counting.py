"""Count simulated requests as the product counts real ones: by tick, arm, weight and window of their start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from numpy.random import Generator, default_rng

from reconciler.core.judge.bets import Array
from reconciler.core.judge.outcomes import Rows
from reconciler.core.judge.tables import LENGTH_SPREAD
from tests.bench.judge.events import (
    FAILED,
    REJECTED,
    SERVED,
    WINDOW_S,
    Change,
    Plan,
    Requests,
    Service,
    Whole,
    plan_of,
    requests_of,
)
from tests.bench.judge.late import with_late
from tests.bench.judge.reading import cells_of, from_replicas, late, lives_of, readable, tick_of, told_by
from tests.bench.judge.traffic import TICK_S, VLLM_TTFT_BOUNDS, Recording, Schedule, weight_at

FOLLOWED = 122  # ticks for which a window is told of
# The bounds of vLLM's vllm:request_time_per_output_token_seconds.
VLLM_TPOT_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip


@dataclass(frozen=True)
class Counted:
    """One run: `outcomes` [T, 2, 3] by tick of the end, `begun` [T, 2], latency cells [T, 2, C].

    `cohorts` [C, F, 2, 4]: begun, ended, errors and rejected of each arm so many ticks after the cohort's first.
    """

    outcomes: Whole
    begun: Whole
    cohorts: Whole
    ttft: Array
    itl: Array
    answer_s: float


def simulate_events(
    service: Service,
    change: Change,
    schedule: Schedule,
    *,
    runs: int,
    seed: int,
    duration_s: float = 1800.0,
    open_fail: bool = False,
) -> Recording:
    """Return `runs` independent rollouts of `duration_s`; `open_fail`: what is open for too long counts as failed."""
    rng = default_rng(seed)
    plan = plan_of(schedule, duration_s)
    counted = []
    for _ in range(runs):
        made = requests_of(service, change, plan, rng)
        run = _count(service, change, plan, made, rng)
        counted.append(replace(run, outcomes=with_late(run.outcomes, plan, made)) if open_fail else run)
    return _recording(service, plan, counted)


def _count(service: Service, change: Change, plan: Plan, made: Requests, rng: Generator) -> Counted:
    ticks = plan.ticks
    ended, begun = tick_of(made.ended_s), tick_of(made.began_s)
    inside = (ended >= 0) & (ended < ticks)
    outcomes = _histogram((ticks, 2, 3), ended, made.arm, made.outcome, where=inside)
    read = readable(service, change, outcomes, rng)
    lives = (lives_of(service, 0, ticks, rng), lives_of(service, 1, ticks, rng)) if service.churn_per_s else None
    answered = (made.outcome == SERVED) & inside
    return Counted(
        outcomes,
        _histogram((ticks, 2), begun, made.arm, where=(begun >= 0) & (begun < ticks) & made.split),
        _cohorts(plan, made, begun, ended),
        late(_told(_first_tokens(made), ticks, made, lives, rng), read),
        late(_told(_gaps(service, made), ticks, made, lives, rng), read),
        float(np.quantile((made.ended_s[answered] - made.began_s[answered]), 0.999)),
    )


def _histogram(shape: tuple[int, ...], *places: Whole, where: npt.NDArray[np.bool_]) -> Whole:
    index = np.ravel_multi_index([place[where] for place in places], shape)
    counted: Whole = np.bincount(index, minlength=math.prod(shape)).reshape(shape)
    return counted


@dataclass(frozen=True)
class _Latency:
    """One latency of each request: its value, when a server counts it, how often, and the buckets' bounds."""

    at_s: Array
    value: Array
    bounds: tuple[float, ...]
    weight: Array | None = None


def _first_tokens(made: Requests) -> _Latency:
    return _Latency(made.first_token_s, made.first_token_s - made.began_s, VLLM_TTFT_BOUNDS)


def _gaps(service: Service, made: Requests) -> _Latency:
    """Return the inter-token latencies, one an answer, or token by token and divided as the judge divides them."""
    told = np.where(np.isfinite(made.tpot_s), made.ended_s, math.inf)
    value = np.where(np.isfinite(made.tpot_s), made.tpot_s, 1.0)
    if not service.token_gaps:
        return _Latency(told, value, VLLM_TPOT_BOUNDS)
    mean = float(made.tokens.sum()) / max(int((made.tokens > 0).sum()), 1)
    return _Latency(told, value, VLLM_TPOT_BOUNDS, made.tokens / (1.0 + (mean - 1.0) * LENGTH_SPREAD))


def _told(latency: _Latency, ticks: int, made: Requests, lives: tuple[Whole, Whole] | None, rng: Generator) -> Array:
    """Return the cells [T, 2, C] that servers tell, by replica where these come and go."""
    if lives is None:
        return cells_of(ticks, made, latency.at_s, latency.value, latency.bounds, latency.weight)
    replica = told_by(lives, made, latency.at_s, rng)
    champion, challenger = (
        np.stack(
            [
                cells_of(
                    ticks, made, np.where(replica == n, latency.at_s, math.inf), latency.value, latency.bounds,
                    latency.weight,
                )[:, arm]
                for n in range(own.shape[1])
            ], 1,
        )
        for arm, own in enumerate(lives)
    )  # fmt: skip
    return from_replicas((champion, challenger), lives)


def _cohorts(plan: Plan, made: Requests, begun: Whole, ended: Whole) -> Whole:
    first = tick_of(plan.edges[:-1])[made.cohort]
    shape = (len(plan.weights), FOLLOWED, 2)
    failed, rejected = (made.split & (made.outcome == outcome) for outcome in (FAILED, REJECTED))
    kinds = ((begun, made.split), (ended, made.split), (ended, failed), (ended, rejected))
    found = []
    for tick, chosen in kinds:
        lag = tick - first
        new = _histogram(shape, made.cohort, np.maximum(lag, 0), made.arm, where=chosen & (lag < FOLLOWED))
        found.append(np.cumsum(new, 1, dtype=np.int32))
    return np.stack(found, -1)


def _recording(service: Service, plan: Plan, counted: list[Counted]) -> Recording:
    outcomes = np.stack([run.outcomes for run in counted], 1).astype(np.float64)  # [T, R, 2, 3]
    return Recording(
        weight_pct=_weights_in_force(plan),
        requests=outcomes.sum(-1),
        errors=outcomes[..., FAILED],
        rejected=outcomes[..., REJECTED],
        latency={
            "ttft": np.stack([run.ttft for run in counted], 1),
            "itl": np.stack([run.itl for run in counted], 1),
        },
        bounds={"ttft": VLLM_TTFT_BOUNDS, "itl": VLLM_TPOT_BOUNDS},
        begun=np.stack([run.begun for run in counted], 1).astype(np.float64) if service.by_start else None,
        windows=_windows(plan, counted) if service.by_start else (),
        answer_s=None if service.by_start else np.array([run.answer_s for run in counted]),
    )


def _weights_in_force(plan: Plan) -> Array:
    return np.array([weight_at(plan.schedule, TICK_S * (k + 1)) for k in range(plan.ticks)])


def _windows(plan: Plan, counted: list[Counted]) -> tuple[tuple[Rows, ...], ...]:
    """Return for each tick the windows whose counts may have moved in it."""
    cohorts = np.stack([run.cohorts for run in counted], 2)  # [C, F, R, 2, 4]
    first = tick_of(plan.edges[:-1])
    found: list[tuple[Rows, ...]] = []
    for k in range(plan.ticks):
        lag = k - first
        told = np.flatnonzero((lag >= 0) & (lag < FOLLOWED))
        found.append(tuple(_row(plan, cohorts, int(c), int(lag[c])) for c in told if _moved(cohorts[c], lag[c], k)))
    return tuple(found)


def _moved(cohort: Whole, lag: int, k: int) -> bool:
    return k == 0 or lag == 0 or bool((cohort[lag] != cohort[lag - 1]).any())


def _row(plan: Plan, cohorts: Whole, c: int, lag: int) -> Rows:
    return Rows(float(plan.weights[c]), float(plan.windows_s[c]), WINDOW_S, cohorts[c, lag])
