"""From batches to figures: each with its 95 % interval, its number of runs and what it must reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tests.bench.judge.cases import PROTECTED, REGRESSIONS, STEADY
from tests.bench.judge.peers import Thresholds, bucket_bound, sprt_exposed
from tests.bench.judge.runs import Outcome, join
from tests.bench.judge.traffic import EQUAL, Array
from tests.bench.judge.work import Batch, all_thresholds

ALPHA = 0.01


@dataclass(frozen=True)
class Figure:
    """One measured figure; `limit` is what it must reach, None where nothing is asked."""

    group: str
    name: str
    value: float
    low: float
    high: float
    runs: int
    unit: str = "%"
    limit: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Say whether the measured value reaches its limit; None where there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Results:
    """The batches of a bench by case name, and what can be asked of them."""

    def __init__(self, batches: list[Batch]) -> None:
        self.by_name: dict[str, list[Batch]] = {}
        for batch in batches:
            self.by_name.setdefault(batch.case.name, []).append(batch)

    def judged(self, name: str) -> Outcome:
        """Return the judge's outcome in a case."""
        return join([batch.judged for batch in self.by_name[name]])

    def kayenta(self, name: str) -> Outcome:
        """Return Kayenta's outcome in a case with peers."""
        return join([batch.kayenta for batch in self.by_name[name] if batch.kayenta is not None])

    def mean_over(self, name: str, read: Callable[[Batch], Array | None]) -> Array:
        """Return a mean a configuration, batches weighted by their runs."""
        batches = self.by_name[name]
        parts = [(read(batch), len(batch.judged.exposed)) for batch in batches]
        total = sum(size for _, size in parts)
        mean: Array = np.sum([part * size for part, size in parts if part is not None], 0) / total
        return mean


def figures(results: Results, scale: float) -> list[Figure]:
    """Return every figure of the bench."""
    return [
        *_false_rollbacks(results),
        *_against_thresholds(results),
        *_against_kayenta(results),
        *_efficiency(results, scale),
        *_tail(results),
        *_false_promotes(results),
        *_equal_promoted(results),
        *_exposed(results),
        *_hard(results),
    ]


def proportion(
    group: str, name: str, hits: float, runs: int, *, limit: float | None = None, at_least: bool = False
) -> Figure:
    """Return a proportion in percent with Wilson's interval."""
    z, p = 1.96, hits / runs
    centre, spread = p + z * z / (2 * runs), z * math.sqrt(p * (1 - p) / runs + z * z / (4 * runs * runs))
    low, high = ((centre - spread) / (1 + z * z / runs), (centre + spread) / (1 + z * z / runs))
    return Figure(group, name, 100 * p, 100 * max(low, 0.0), 100 * high, runs, "%", limit, at_least)


def mean(group: str, name: str, values: Array) -> Figure:
    """Return a mean of requests with its normal interval."""
    half = 1.96 * float(values.std()) / math.sqrt(len(values))
    centre = float(values.mean())
    return Figure(group, name, centre, centre - half, centre + half, len(values), unit="requests")


def ratio(group: str, name: str, above: Array, below: Array, limit: float | None = None) -> Figure:
    """Return the ratio of two means with its delta-method interval."""
    value = float(above.mean() / below.mean())
    relative = sum(float(x.var()) / len(x) / float(x.mean()) ** 2 for x in (above, below))
    half = 1.96 * value * math.sqrt(relative)
    return Figure(group, name, value, value - half, value + half, len(below), "x", limit, True)


def tuned(results: Results, *, ratio_family: bool, suffix: str) -> tuple[Thresholds, Array]:
    """Return the best configuration with at most 1 % false rollbacks, and its exposures [4].

    The peer is tuned on the very regressions that it is measured on: its figures flatter it.
    """
    rules = all_thresholds()
    false = results.mean_over("null, drift and bursts, flat", lambda batch: batch.fired)
    exposed = np.stack(
        [results.mean_over(f"{name}, drift, flat", lambda batch: batch.threshold_exposed) for name in REGRESSIONS]
    )
    own = np.array([results.judged(f"{name}, {suffix}").exposed.mean() for name in REGRESSIONS])
    score = (exposed / own[:, None]).mean(0)
    allowed = [i for i, rule in enumerate(rules) if rule.ratio is ratio_family and false[i] <= ALPHA]
    best = min(allowed, key=lambda i: float(score[i]))
    return rules[best], exposed[:, best]


def _false_rollbacks(results: Results) -> list[Figure]:
    found = []
    for name in [name for name in results.by_name if name.startswith("null")]:
        outcome = results.judged(name)
        limit = 1.2 if "learned" in name else 1.0
        hits = float(np.isfinite(outcome.failed_s).sum())
        found.append(proportion("false rollback", name, hits, len(outcome.exposed), limit=limit))
    return found


def _against_thresholds(results: Results) -> list[Figure]:
    found = []
    for suffix, label, limits in (
        ("drift, flat", "default noise", (4.6, 3.2)),
        ("drift, flat, quiet learned", "noise learned, quiet", (6.0, 4.0)),
    ):
        for family, limit in zip(("absolute", "ratio"), limits, strict=True):
            rule, exposed = tuned(results, ratio_family=family == "ratio", suffix=suffix)
            own = [results.judged(f"{name}, {suffix}").exposed for name in REGRESSIONS]
            each = exposed / np.array([part.mean() for part in own])
            half = (
                1.96
                * math.sqrt(sum((r * p.std() / p.mean()) ** 2 / len(p) for r, p in zip(each, own, strict=True)))
                / 4
            )
            value = float(each.mean())
            named = f"{family} thresholds, {label} ({_describe(rule)})"
            runs = min(len(part) for part in own)
            found.append(Figure("fewer exposed", named, value, value - half, value + half, runs, "x", limit, True))
    return found


def _describe(rule: Thresholds) -> str:
    unit = "x champion" if rule.ratio else ""
    return (
        f"every {rule.interval_s:g} s, errors > {rule.error_limit:g}{unit}, p95 > {rule.latency_limit:g}"
        f"{unit or ' s'}, {rule.failures_max} failures"
    )


def _against_kayenta(results: Results) -> list[Figure]:
    names = [f"{name}, {kind}, flat" for kind in ("drift", "steady") for name in REGRESSIONS]
    found = [
        ratio("fewer exposed", f"Kayenta, {name}", results.kayenta(name).exposed, results.judged(name).exposed, 1.9)
        for name in names
    ]
    null = results.kayenta("null, drift and bursts, flat")
    hits = float(np.isfinite(null.failed_s).sum())
    return [
        *found,
        proportion("fewer exposed", "Kayenta's own false rollbacks, drift and bursts", hits, len(null.exposed)),
    ]


def _efficiency(results: Results, scale: float) -> list[Figure]:
    runs = max(200, round(10_000 * scale))
    slow = REGRESSIONS["TTFT x1.2"]
    known = {
        name: sprt_exposed(STEADY, release, 10.0, alpha=ALPHA, runs=runs, seed=101)
        for name, release in REGRESSIONS.items()
    }
    allowed = bucket_bound(STEADY, slow, 10.0, alpha=ALPHA, runs=max(200, round(3000 * scale)), seed=102)
    judged = {name: results.judged(f"{name}, steady, flat").exposed for name in REGRESSIONS}
    quiet = results.judged("TTFT x1.2, steady, flat, noise 0").exposed
    return [
        ratio("efficiency", "errors 1 to 2 %, of the SPRT", known["errors 1 to 2 %"], judged["errors 1 to 2 %"], 0.8),
        ratio("efficiency", "TTFT x1.2, noise 0, of what bucket counts allow", allowed, quiet, 0.8),
        *[mean("efficiency", f"known-parameter SPRT: {name}", values) for name, values in known.items()],
        mean("efficiency", "what bucket counts allow: TTFT x1.2", allowed),
    ]


def _tail(results: Results) -> list[Figure]:
    found = []
    for name in ("tail 10 % x2, steady, flat", "tail 10 % x2, drift, flat", "tail 10 % x2, 3 % arm noise, flat"):
        outcome = results.judged(name)
        hits = float(outcome.rolled_back.sum())
        found.append(proportion("tail row", f"found: {name}", hits, len(outcome.exposed), limit=94.0, at_least=True))
        exposed = mean("tail row", f"exposed: {name}", outcome.exposed)
        found.append(replace(exposed, limit=1710.0 if "steady" in name else None))
    return found


def _false_promotes(results: Results) -> list[Figure]:
    found = []
    for name in PROTECTED:
        for suffix, limit in (("steady, flat", 2.0), ("drift, flat", 2.0), ("drift, ramp", 1.0)):
            outcome = results.judged(f"{name}, {suffix}")
            hits = float(outcome.promoted.sum())
            found.append(proportion("false promote", f"{name}, {suffix}", hits, len(outcome.exposed), limit=limit))
    return found


def _equal_promoted(results: Results) -> list[Figure]:
    found = []
    for name in ("null, drift and bursts, ramp", "null, 3 % arm noise, ramp"):
        outcome = results.judged(name)
        asked = "drift" in name
        hits, runs = float(outcome.promoted.sum()), len(outcome.exposed)
        found.append(
            proportion(
                "equal promoted", f"{name}: within 30 min", hits, runs, limit=99.0 if asked else None, at_least=True
            )
        )
        minutes = np.sort(outcome.passed_s) / 60.0
        half = 0.98 * math.sqrt(runs)
        low, high = (float(minutes[round(np.clip(runs / 2 + sign * half, 0, runs - 1))]) for sign in (-1, 1))
        middle = float(np.median(minutes))
        limit = 10.0 if asked else None
        found.append(Figure("equal promoted", f"{name}: median", middle, low, high, runs, "min", limit))
    return found


def _exposed(results: Results) -> list[Figure]:
    suffixes = ("steady, flat", "steady, flat, noise 0", "drift, flat", "drift, flat, quiet learned", "drift, ramp")
    names = [f"{name}, {suffix}" for name in REGRESSIONS for suffix in suffixes]
    return [mean("exposed", name, results.judged(name).exposed) for name in names]


def _hard(results: Results) -> list[Figure]:
    found = []
    for name in [name for name in results.by_name if ": " in name]:
        outcome, runs = results.judged(name), len(results.judged(name).exposed)
        equal = results.by_name[name][0].case.release == EQUAL
        what = "rolled back" if equal else "found"
        found.append(proportion("hard cases", f"{name}: {what}", float(outcome.rolled_back.sum()), runs))
        found.append(proportion("hard cases", f"{name}: promoted", float(outcome.promoted.sum()), runs))
        if "arrive" in name or "lags" in name:
            faults = float(sum(batch.routing_faults for batch in results.by_name[name]))
            found.append(proportion("hard cases", f"{name}: reported as routing fault", faults, runs))
        elif not equal:
            found.append(mean("hard cases", f"{name}: exposed", outcome.exposed))
    return found
