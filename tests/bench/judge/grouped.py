"""The figures of scenarios that stand in groups of their own: what happens to equal releases and to worse ones."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from tests.bench.judge.measured import Figure, NotMeasured, Results, mean, proportion
from tests.bench.judge.traffic import Array
from tests.bench.judge.tuning import tuned
from tests.bench.judge.work import all_thresholds

FALSE_MAX = 1.0
HIGH_MAX = 1.3
"""What false rollbacks of a whole rollout may come to, in percent, and how far up their interval may reach."""


def grouped(results: Results) -> list[Figure]:
    """Return the figures of each such scenario that was measured."""
    found: list[Figure] = []
    cases = [batches[0].case for batches in results.by_name.values()]
    for case in sorted((case for case in cases if case.group), key=lambda case: (case.group, not case.equal)):
        found += _equal(results, case.group, case.name) if case.equal else _worse(results, case.group, case.name)
        if case.peers:
            found += _peers(results, case.group, case.name)
    return found


def _equal(results: Results, group: str, name: str) -> list[Figure]:
    outcome = results.judged(name)
    runs = len(outcome.exposed)
    failed = float(np.isfinite(outcome.failed_s).sum())
    return [
        proportion(group, f"{name}: rolled back", failed, runs, limit=FALSE_MAX, high_max=HIGH_MAX),
        proportion(group, f"{name}: promoted", float(outcome.promoted.sum()), runs),
    ]


def _worse(results: Results, group: str, name: str) -> list[Figure]:
    outcome = results.judged(name)
    runs = len(outcome.exposed)
    return [
        proportion(group, f"{name}: found", float(outcome.rolled_back.sum()), runs),
        proportion(group, f"{name}: promoted", float(outcome.promoted.sum()), runs),
        mean(group, f"{name}: exposed", outcome.exposed),
        *_minutes(group, name, np.where(outcome.rolled_back, outcome.failed_s, math.inf) / 60.0),
    ]


def _minutes(group: str, name: str, minutes: Array) -> list[Figure]:
    """Return the median time until rollback, from the order statistics; nothing where fewer than half are found."""
    ordered, runs = np.sort(minutes), len(minutes)
    low, middle, high = (float(ordered[_place(runs, sigmas)]) for sigmas in (-1.96, 0.0, 1.96))
    return [Figure(group, f"{name}: median time", middle, low, high, runs, "min")] if math.isfinite(high) else []


def _place(runs: int, sigmas: float) -> int:
    """Return where in so many ordered values the median lies, or an end of its interval."""
    return min(max(round((runs - 1) / 2 + sigmas * math.sqrt(runs) / 2), 0), runs - 1)


def _peers(results: Results, group: str, name: str) -> list[Figure]:
    """Return how often the peers roll back in the same runs."""
    kayenta = results.kayenta(name)
    runs = len(kayenta.exposed)
    found = [proportion(group, f"{name}: Kayenta rolls back", float(np.isfinite(kayenta.failed_s).sum()), runs)]
    fired = results.mean_over(name, lambda batch: batch.fired)
    for family in ("absolute", "ratio"):
        with suppress(NotMeasured):
            rule, _ = tuned(results, ratio_family=family == "ratio", suffix="drift, flat")
            hits = runs * float(fired[all_thresholds().index(rule)])
            found.append(proportion(group, f"{name}: {family} thresholds roll back", hits, runs))
    return found
