"""Run the judge's own desk over simulated rollouts, many at a time, and say when each was decided."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reconciler.core.judge import ArmCounts, Tick, mixture
from reconciler.core.judge.mixture import BetStates, Counts, Plans
from reconciler.core.judge.settings import JudgeSettings
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


def ticks_of(recording: Recording, run: int = 0) -> list[Tick]:
    """Return one run's ticks as the product would have recorded them."""
    return [
        Tick(TICK_S * (k + 1), float(weight), *(_counts(recording, k, run, arm) for arm in (0, 1)))
        for k, weight in enumerate(recording.weight_pct)
    ]


def histogram(cells: npt.NDArray[Any]) -> dict[str, float]:
    """Return cell counts [C] as a cumulative histogram over vLLM's bounds."""
    labels = (*map(repr, VLLM_TTFT_BOUNDS), "+Inf")
    return dict(zip(labels, np.cumsum(cells).tolist(), strict=True))


def _counts(recording: Recording, k: int, run: int, arm: int) -> ArmCounts:
    requests, errors = (int(of[k, run, arm]) for of in (recording.requests, recording.errors))
    return ArmCounts(requests, errors, histogram(recording.ttft[k, run, arm]))


def judge_recording(recording: Recording, settings: JudgeSettings) -> Outcome:
    """Judge every run until it is rolled back; a promotion is noted, and the run watched on to the end.

    A promoted regression counts all its requests as exposed.
    """
    ticks, runs = recording.requests.shape[:2]
    alive = np.arange(runs)
    failed_s, passed_s = np.full(runs, NEVER), np.full(runs, NEVER)
    recording, bounds = trimmed(recording)
    states, plans = mixture.first_states(settings, runs), Plans(settings, {"ttft": bounds})
    for k in range(ticks):
        t_s = TICK_S * (k + 1)
        counts = Counts(
            recording.requests[k, alive], recording.errors[k, alive], _latency(recording, k, alive, settings)
        )
        states = mixture.advance(states, counts, TICK_S, plans, warm=t_s > settings.warmup_s)
        failed, passed = mixture.verdicts(mixture.evidence_of(states, plans), settings)
        failed_s[alive[failed]] = t_s
        newly = alive[passed]
        passed_s[newly] = np.minimum(passed_s[newly], t_s)
        if failed.any():
            states, alive = keep(states, ~failed), alive[~failed]
        if not len(alive):
            break
    return Outcome(failed_s, passed_s, exposed_until(recording, np.where(failed_s < passed_s, failed_s, NEVER)))


def trimmed(recording: Recording) -> tuple[Recording, tuple[float, ...]]:
    """Return the recording without the buckets that no request ever fell into, below and above; halves the work."""
    used = np.flatnonzero(recording.ttft.sum((0, 1, 2)))
    first, last = max(int(used[0]) - 2, 0), min(int(used[-1]) + 2, len(VLLM_TTFT_BOUNDS))
    low = recording.ttft[..., : first + 1].sum(-1, keepdims=True)
    high = recording.ttft[..., last:].sum(-1, keepdims=True)
    kept = np.concatenate([low, recording.ttft[..., first + 1 : last], high], -1)
    return replace(recording, ttft=kept), VLLM_TTFT_BOUNDS[first:last]


def exposed_until(recording: Recording, stopped_s: Array) -> Array:
    """Return the challenger's requests up to and with the tick that ends at `stopped_s` [R]."""
    ends = TICK_S * np.arange(1, len(recording.requests) + 1)[:, None]
    total: Array = (recording.requests[:, :, 1] * (ends <= stopped_s)).sum(0)
    return total


def keep(states: BetStates, mask: npt.NDArray[np.bool_]) -> BetStates:
    """Return the states of the runs in `mask`."""
    failed, rejected = (None if b is None else _select(b, mask) for b in (states.failures, states.rejections))
    return BetStates(failed, {m: _select(state, mask) for m, state in states.latency.items()}, rejected)


def _select(state: Any, mask: npt.NDArray[np.bool_]) -> Any:
    values = {item.name: getattr(state, item.name) for item in fields(state)}
    return type(state)(**{k: _select(v, mask) if is_dataclass(v) else v[mask] for k, v in values.items()})


def _latency(recording: Recording, k: int, alive: npt.NDArray[np.intp], settings: JudgeSettings) -> dict[Any, Array]:
    if not mixture.rows_of(settings, "ttft"):
        return {}
    return {"ttft": recording.ttft[k, alive].astype(np.float64)}
