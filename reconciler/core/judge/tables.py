"""From a tick to the arrays that bets are settled on: buckets that both arms have, gaps between tokens by answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from reconciler.core.judge import latency
from reconciler.core.judge.bets import Array
from reconciler.core.judge.mixture import LATENCIES, Counts, rows_of
from reconciler.core.judge.outcomes import Outcomes, Rows, ended_outcomes
from reconciler.core.judge.settings import JudgeSettings, Metric
from reconciler.core.judge.ticks import ArmCounts, Histogram, StartWindow, Tick, bounds_of, cells

LENGTH_SPREAD = 3.0
"""How much more the lengths of answers count for than their mean: E[length²] / E[length]², 2.7 at a log-sd of 1.

All tokens of an answer share its arm, and a long answer brings many of them. Only gaps counted token by token need it.
"""


@dataclass(frozen=True)
class Tables:
    """What is known of the histograms: bounds, each latency's cells so far [2, C], whole answers cumulative by `le`.

    `gaps` are the inter-token gaps counted so far and the answers that they belong to. `misfit` says of a latency why
    its latest histograms could not be compared.
    """

    bounds: Mapping[Metric, tuple[float, ...]]
    seen: Mapping[Metric, Array]
    answer_s: Mapping[float, float]
    gaps: tuple[float, float]
    misfit: Mapping[Metric, str]


NO_TABLES = Tables({}, {}, {}, (0.0, 0.0), {})


def counts_of(tick: Tick, elapsed_s: float, known: Tables, settings: JudgeSettings) -> tuple[Counts, Tables]:
    """Return the tick as arrays of one run, and the tables that have seen its histograms."""
    known = _with_answers(known, tick)
    latencies: dict[Metric, Array] = {}
    for metric in LATENCIES:
        if rows_of(settings, metric):
            known, table = _table(known, metric, _histograms(tick, metric))
            if table is not None:
                latencies[metric] = table[None]
    if "itl" in latencies:
        known = replace(known, gaps=_gaps(known.gaps, tick, latencies["itl"]))
        latencies["itl"] = latencies["itl"] / _gaps_an_answer(known.gaps, tick, settings)
    return Counts(
        t_s=tick.t_s,
        elapsed_s=elapsed_s,
        weight_pct=tick.weight_pct,
        latency=latencies,
        windows=None if tick.cohorts is None else tuple(_rows(window) for window in tick.cohorts),
        ended=_ended(tick) if tick.cohorts is None else None,
        answer_s=_answer_tail_s(known.answer_s),
        since_s=tick.since_s,
    ), known


def _ended(tick: Tick) -> Outcomes:
    names = ("requests", "errors", "rejected")
    requests, errors, rejected = (
        np.array([[getattr(arm, name) for arm in (tick.champion, tick.challenger)]], dtype=np.float64) for name in names
    )
    return ended_outcomes(tick.weight_pct, requests, errors, rejected)


def _rows(window: StartWindow) -> Rows:
    counts = np.array([[window.champion, window.challenger]], dtype=np.float64)
    return Rows(window.weight_pct, window.began_s, window.window_s, counts)


def _histograms(tick: Tick, metric: Metric) -> tuple[Histogram, Histogram]:
    if metric == "ttft":
        return tick.champion.ttft_s, tick.challenger.ttft_s
    return tick.champion.itl_s, tick.challenger.itl_s


def _table(known: Tables, metric: Metric, arms: tuple[Histogram, Histogram]) -> tuple[Tables, Array | None]:
    """Return the cells of both arms [2, C] over the bounds that both have; None when one arm has no histogram."""
    if not all(arms):
        return known, None
    bounds = known.bounds.get(metric) or tuple(sorted(set(bounds_of(arms[0])) & set(bounds_of(arms[1]))))
    missing = sorted({bound for bound in bounds for arm in arms if bound not in set(bounds_of(arm))})
    if missing or not bounds:
        why = f"the bucket {missing[0]:g} is gone" if missing else "the arms have no bucket bound in common"
        return replace(known, misfit={**known.misfit, metric: why}), None
    table = np.array([cells(arm, bounds) for arm in arms], dtype=np.float64)
    seen = known.seen.get(metric, np.zeros_like(table)) + table
    misfit = {other: why for other, why in known.misfit.items() if other != metric}
    return replace(
        known, bounds={**known.bounds, metric: bounds}, seen={**known.seen, metric: seen}, misfit=misfit
    ), table


def _gaps(gaps: tuple[float, float], tick: Tick, table: Array) -> tuple[float, float]:
    answered = sum(_answers(arm) for arm in (tick.champion, tick.challenger))
    return gaps[0] + float(table.sum()), gaps[1] + answered


def _answers(arm: ArmCounts) -> int:
    """Return the answers that wrote the tokens; where nobody counted them, what neither failed nor was refused."""
    return arm.requests - arm.errors - arm.rejected if arm.answers is None else arm.answers


def _gaps_an_answer(gaps: tuple[float, float], tick: Tick, settings: JudgeSettings) -> float:
    """Return by how much gaps are divided, so that an answer counts as one, and a long one not as many."""
    if settings.tokens_per_request is not None:
        return settings.tokens_per_request
    mean = max(1.0, gaps[0] / gaps[1]) if gaps[1] > 0 else 100.0
    counted = tick.champion.answers is not None
    return 1.0 + (mean - 1.0) * LENGTH_SPREAD if counted else mean


def _with_answers(known: Tables, tick: Tick) -> Tables:
    pooled = dict(known.answer_s)
    for arm in (tick.champion, tick.challenger):
        for le, count in arm.answer_s.items():
            pooled[float(le)] = pooled.get(float(le), 0.0) + count
    return replace(known, answer_s=pooled)


def _answer_tail_s(answer_s: Mapping[float, float]) -> Array | None:
    """Return within which time nearly all answers end, [1]; None where nobody measures it."""
    if not answer_s:
        return None
    total = answer_s[math.inf]
    return np.array([min((le for le, n in answer_s.items() if total and n >= latency.TAIL * total), default=math.inf)])
