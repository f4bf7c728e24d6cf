"""Run the judge's own desk over simulated rollouts, many at a time, and say when each was decided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reconciler.core.judge import ArmCounts, Tick, mixture, weigh
from reconciler.core.judge.mixture import Plans
from reconciler.core.judge.settings import JudgeSettings, Metric
from reconciler.core.judge.weigh import Evidence
from tests.bench.judge.traffic import TICK_S, VLLM_TTFT_BOUNDS, Array, Recording

NEVER = math.inf


@dataclass(frozen=True)
class Outcome:
    """When each run was rolled back or promoted (seconds, inf for never), and the challenger requests exposed, [R]."""

    failed_s: Array
    passed_s: Array
    exposed: Array

    @property
    def rolled_back(self) -> npt.NDArray[np.bool_]:
        """Say which runs were rolled back and not promoted before."""
        return self.failed_s < self.passed_s

    @property
    def promoted(self) -> npt.NDArray[np.bool_]:
        """Say which runs were promoted and not rolled back before."""
        return self.passed_s < self.failed_s


def join(outcomes: list[Outcome]) -> Outcome:
    """Return the outcomes of several batches as one."""
    return Outcome(*(np.concatenate([getattr(o, item.name) for o in outcomes]) for item in fields(Outcome)))


def beside(parts: list[Recording]) -> Recording:
    """Return recordings of counts under the same weights as one, the runs of the first part first."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        requests=np.concatenate([part.requests for part in parts], 1),
        errors=np.concatenate([part.errors for part in parts], 1),
        latency={metric: np.concatenate([part.latency[metric] for part in parts], 1) for metric in parts[0].latency},
    )


def ticks_of(recording: Recording, run: int = 0) -> list[Tick]:
    """Return one run's ticks as the product would have recorded them."""
    return [
        Tick(TICK_S * (k + 1), float(weight), _counts(recording, k, run, 0), _counts(recording, k, run, 1))
        for k, weight in enumerate(recording.weight_pct)
    ]


def histogram(cells: npt.NDArray[Any]) -> dict[str, float]:
    """Return cell counts [C] as a cumulative histogram over vLLM's bounds."""
    labels = (*map(repr, VLLM_TTFT_BOUNDS), "+Inf")
    return dict(zip(labels, np.cumsum(cells).tolist(), strict=True))


def _counts(recording: Recording, k: int, run: int, arm: int) -> ArmCounts:
    requests, errors = (int(of[k, run, arm]) for of in (recording.requests, recording.errors))
    return ArmCounts(requests, errors, histogram(recording.latency["ttft"][k, run, arm]))


def judge_recording(recording: Recording, settings: JudgeSettings, *, regions: int = 1) -> Outcome:
    """Judge every rollout until it is rolled back; a promotion is noted, and the rollout watched on to the end.

    The recording holds `regions` times as many runs as there are rollouts, region by region. A rollout has passed when
    all its regions have; each starts afresh after its own promotion, as in production. A promoted regression counts all
    its requests as exposed.
    """
    runs = recording.requests.shape[1] // regions
    alive, failed_s, passed_s = np.arange(runs), np.full(runs, NEVER), np.full((regions, runs), NEVER)
    recording, bounds = trimmed(recording)
    states, plans = mixture.first_states(settings, runs * regions), Plans(settings, bounds)
    for k in range(len(recording.requests)):
        t_s = TICK_S * (k + 1)
        rows = np.concatenate([alive + runs * region for region in range(regions)])
        states = mixture.advance(states, recording.counts(k, rows), plans, warm=t_s > settings.warmup_s)
        evidence = weigh.evidence_of(states, plans)
        failed = _joint(evidence, settings, regions) >= settings.rollback_limit
        passed = weigh.cleared(evidence, settings)
        failed_s[alive[failed]] = t_s
        first = passed_s.reshape(-1)[rows]
        passed_s.reshape(-1)[rows] = np.where(passed & ~np.tile(failed, regions), np.minimum(first, t_s), first)
        if passed.any():
            states = mixture.restarted(states, evidence.present, passed)
        if failed.any():
            states, alive = select(states, np.tile(~failed, regions)), alive[~failed]
        if not len(alive):
            break
    stopped_s = np.where(failed_s < passed_s.max(0), failed_s, NEVER)
    exposed = exposed_until(recording, np.tile(stopped_s, regions)).reshape(regions, runs).sum(0)
    return Outcome(failed_s, passed_s.max(0), exposed)


def _joint(evidence: Evidence, settings: JudgeSettings, regions: int) -> Array:
    size = len(evidence.present) // regions
    parts = [np.arange(len(evidence.present)) // size == region for region in range(regions)]
    return weigh.joint_harm([select(evidence, part) for part in parts], settings)


def trimmed(recording: Recording) -> tuple[Recording, dict[Metric, tuple[float, ...]]]:
    """Return the recording without the buckets that nothing ever fell into, below and above; halves the work."""
    bounds: dict[Metric, tuple[float, ...]] = {}
    kept: dict[Metric, npt.NDArray[Any]] = {}
    for metric, table in recording.latency.items():
        every = recording.bounds[metric]
        used = np.flatnonzero(table.sum((0, 1, 2)))
        first, last = max(int(used[0]) - 2, 0), min(int(used[-1]) + 2, len(every))
        low, high = (part.sum(-1, keepdims=True) for part in (table[..., : first + 1], table[..., last:]))
        kept[metric] = np.concatenate([low, table[..., first + 1 : last], high], -1)
        bounds[metric] = every[first:last]
    return replace(recording, latency=kept), bounds


def exposed_until(recording: Recording, stopped_s: Array) -> Array:
    """Return the challenger's requests up to and with the tick that ends at `stopped_s` [R]."""
    ends = TICK_S * np.arange(1, len(recording.requests) + 1)[:, None]
    total: Array = (recording.sent * (ends <= stopped_s)).sum(0)
    return total


def select(state: Any, mask: npt.NDArray[np.bool_]) -> Any:
    """Return a state or evidence with the runs in `mask` alone; every array in it has runs as its first axis."""
    if isinstance(state, np.ndarray):
        return state[mask]
    if is_dataclass(state) and not isinstance(state, type):
        return replace(state, **{item.name: select(getattr(state, item.name), mask) for item in fields(state)})
    if isinstance(state, Mapping):
        return {key: select(value, mask) for key, value in state.items()}
    return tuple(select(part, mask) for part in state) if isinstance(state, tuple) else state
