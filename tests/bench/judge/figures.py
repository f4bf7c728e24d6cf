"""The figures of scenarios of counts: false verdicts, requests exposed, and how the peers do beside the judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from tests.bench.judge.cases import PROTECTED, REGRESSIONS, STEADY
from tests.bench.judge.grouped import HIGH_MAX, grouped
from tests.bench.judge.measured import Figure, NotMeasured, Results, mean, proportion, ratio
from tests.bench.judge.peers import Thresholds, bucket_bound, sprt_exposed
from tests.bench.judge.tuning import ALPHA, tuned

KEPT = 0.9
"""How much has to be left of what detection reached before the null cases grew: safer verdicts may cost a tenth."""


def figures(results: Results, scale: float) -> list[Figure]:
    """Return every figure of the groups that were measured."""
    groups: tuple[Callable[[Results], list[Figure]], ...] = (
        _false_rollbacks,
        _against_thresholds,
        _against_kayenta,
        partial(_efficiency, scale=scale),
        _tail,
        _false_promotes,
        _equal_promoted,
        _exposed,
        _hard,
        grouped,
    )
    found: list[Figure] = []
    for group in groups:
        with suppress(NotMeasured):
            found += group(results)
    return found


def _false_rollbacks(results: Results) -> list[Figure]:
    found = []
    for name in [name for name in results.by_name if name.startswith("null")]:
        outcome = results.judged(name)
        limit = 1.2 if "learned" in name else 1.0
        hits = float(np.isfinite(outcome.failed_s).sum())
        high_max = None if "learned" in name else HIGH_MAX
        found.append(proportion("false rollback", name, hits, len(outcome.exposed), limit=limit, high_max=high_max))
    return found


def _against_thresholds(results: Results) -> list[Figure]:
    found = []
    for suffix, label, limits in (
        ("drift, flat", "default noise", (4.90, 3.42)),
        ("drift, flat, quiet learned", "noise learned, quiet", (6.85, 4.61)),
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
            found.append(
                Figure("fewer exposed", named, value, value - half, value + half, runs, "x", KEPT * limit, True)
            )
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
        ratio(
            "fewer exposed", f"Kayenta, {name}", results.kayenta(name).exposed, results.judged(name).exposed, KEPT * 1.9
        )
        for name in names
    ]
    null = results.kayenta("null, drift and bursts, flat")
    hits = float(np.isfinite(null.failed_s).sum())
    return [
        *found,
        proportion("fewer exposed", "Kayenta's own false rollbacks, drift and bursts", hits, len(null.exposed)),
    ]


def _efficiency(results: Results, scale: float) -> list[Figure]:
    judged = {name: results.judged(f"{name}, steady, flat").exposed for name in REGRESSIONS}
    quiet = results.judged("TTFT x1.2, steady, flat, noise 0").exposed
    runs = max(200, round(10_000 * scale))
    slow = REGRESSIONS["TTFT x1.2"]
    known = {
        name: sprt_exposed(STEADY, release, 10.0, alpha=ALPHA, runs=runs, seed=101)
        for name, release in REGRESSIONS.items()
    }
    allowed = bucket_bound(STEADY, slow, 10.0, alpha=ALPHA, runs=max(200, round(3000 * scale)), seed=102)
    return [
        ratio(
            "efficiency",
            "errors 1 to 2 %, of the SPRT",
            known["errors 1 to 2 %"],
            judged["errors 1 to 2 %"],
            KEPT * 0.83,
        ),
        ratio("efficiency", "TTFT x1.2, noise 0, of what bucket counts allow", allowed, quiet, KEPT * 0.82),
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
    for name in [name for name, batches in results.by_name.items() if ": " in name and not batches[0].case.group]:
        outcome, runs = results.judged(name), len(results.judged(name).exposed)
        equal = results.by_name[name][0].case.equal
        what = "rolled back" if equal else "found"
        found.append(proportion("hard cases", f"{name}: {what}", float(outcome.rolled_back.sum()), runs))
        found.append(proportion("hard cases", f"{name}: promoted", float(outcome.promoted.sum()), runs))
        if "arrive" in name or "lags" in name:
            faults = float(sum(batch.routing_faults for batch in results.by_name[name]))
            found.append(proportion("hard cases", f"{name}: reported as routing fault", faults, runs))
        elif not equal:
            found.append(mean("hard cases", f"{name}: exposed", outcome.exposed))
    return found
