"""One batch of runs of one scenario: simulate, judge, and let the peers judge the same ticks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reconciler.core.judge import ArmCounts, Tick, learn, sample_ratio
from tests.bench.judge.cases import Case, Noise
from tests.bench.judge.catalog import AnyCase
from tests.bench.judge.peers import Thresholds, checks_of, grid, kayenta, stops
from tests.bench.judge.runs import Outcome, exposed_until, histogram, join, judge_recording
from tests.bench.judge.traffic import EQUAL, EVEN, TICK_S, Array, Recording, simulate

BATCH = 125
_BATCH_MIN = 25
_MINUTE = 6  # ticks
_NOISE_STEP = 0.005  # learned noise is rounded to it, so that runs can share a desk


@dataclass(frozen=True)
class Batch:
    """What came of one batch: the judge's outcome, Kayenta's, and each threshold configuration's stops [G, R]."""

    case: AnyCase
    first: int
    judged: Outcome
    routing_faults: int
    sigmas: Array
    kayenta: Outcome | None = None
    fired: Array | None = None
    threshold_exposed: Array | None = None


@dataclass(frozen=True)
class Task:
    """A batch to run; the seed follows from the case's name and `first`, so a run is the same in any order."""

    case: AnyCase
    first: int
    runs: int

    @property
    def seed(self) -> int:
        """Return the batch's seed."""
        return zlib.crc32(f"{self.case.name}/{self.first}".encode())


def tasks(cases: Sequence[AnyCase]) -> list[Task]:
    """Cut every case into batches, ordered so that all cases grow together: a bench cut short knows a bit of each."""
    found = []
    for case in cases:
        size = max(_BATCH_MIN, BATCH // case.regions)
        found += [Task(case, first, min(size, case.runs - first)) for first in range(0, case.runs, size)]
    return sorted(found, key=lambda task: task.first / task.case.runs)


def all_thresholds() -> tuple[Thresholds, ...]:
    """Return every configuration of both families, in the order of `Batch.fired`."""
    return (*grid(ratio=False), *grid(ratio=True))


def run_batch(task: Task) -> Batch:
    """Run one batch."""
    case = task.case
    recording = case.recording(task.runs, task.seed)
    sigmas = np.full(task.runs, np.nan)
    if isinstance(case, Case) and case.noise is Noise.LEARNED:
        sigmas = _learned(case, task)
    batch = Batch(case, task.first, _judge(recording, case, sigmas), _routing_faults(recording, case), sigmas)
    if not case.peers:
        return batch
    by_interval = {interval_s: checks_of(recording, interval_s) for interval_s in (60.0, 120.0, 300.0)}
    fired = [stops(by_interval[rule.interval_s], rule) for rule in all_thresholds()]
    exposed = np.array([exposed_until(recording, stopped).mean() for stopped in fired])
    return replace(
        batch,
        kayenta=kayenta(recording),
        fired=np.array([np.isfinite(stopped).mean() for stopped in fired]),
        threshold_exposed=exposed,
    )


def _judge(recording: Recording, case: AnyCase, sigmas: Array) -> Outcome:
    if case.noise is not Noise.LEARNED:
        return judge_recording(recording, case.settings(), regions=case.regions)
    steps = np.round(sigmas / _NOISE_STEP)
    outcomes: list[Outcome] = []
    for step in np.unique(steps):
        runs = np.flatnonzero(steps == step)
        part = replace(
            recording,
            requests=recording.requests[:, runs],
            errors=recording.errors[:, runs],
            latency={metric: table[:, runs] for metric, table in recording.latency.items()},
        )
        outcomes.append(judge_recording(part, case.settings(float(step) * _NOISE_STEP)))
    return join(outcomes)


def _learned(case: Case, task: Task) -> Array:
    """Return the noise that an A/A hour at 50 % of the same traffic teaches each run, [R]."""
    hour = simulate(case.traffic, EQUAL, EVEN, runs=task.runs, seed=task.seed + 1, duration_s=3600.0)
    minutes = len(hour.latency["ttft"]) // _MINUTE
    cells = hour.latency["ttft"][: minutes * _MINUTE].reshape(minutes, _MINUTE, *hour.latency["ttft"].shape[1:]).sum(1)
    return np.array([learn(_minute_ticks(cells[:, run])).assumed for run in range(task.runs)])


def _minute_ticks(cells: Array) -> list[Tick]:
    found = []
    for k, arms in enumerate(cells):
        counts = [ArmCounts(int(arm.sum()), 0, histogram(arm)) for arm in arms]
        found.append(Tick(_MINUTE * TICK_S * (k + 1), 50.0, counts[0], counts[1]))
    return found


def _routing_faults(recording: Recording, case: AnyCase) -> int:
    """Return in how many runs the judge reports at some tick that traffic does not follow the weight."""
    if not isinstance(case, Case):
        return 0
    if case.traffic.arriving_pct is None and not case.traffic.lag_s:
        return 0
    return sum(_faulty(recording, run) for run in range(recording.requests.shape[1]))


def _faulty(recording: Recording, run: int) -> bool:
    state = sample_ratio.SampleRatio()
    for k, (champion, challenger) in enumerate(recording.requests[:, run].astype(int).tolist()):
        state = sample_ratio.follow(state, TICK_S * (k + 1), TICK_S, recording.weight_pct[k], (champion, challenger))
        if sample_ratio.fault(state):
            return True
    return False
