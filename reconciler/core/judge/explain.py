"""The sentence that goes with a verdict: which metric, both arms' figures, how sure, what it cost."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from reconciler.core.judge import mixture
from reconciler.core.judge.bets import Array
from reconciler.core.judge.mixture import Evidence
from reconciler.core.judge.settings import JudgeSettings, Protect
from reconciler.core.judge.state import JudgeState
from reconciler.core.verdict import Verdict


def explain(verdict: Verdict, state: JudgeState, stand: Evidence, settings: JudgeSettings, fault: str | None) -> str:
    """Return one sentence a person can act on."""
    match verdict:
        case Verdict.FAIL:
            return _harm(state, stand, settings)
        case Verdict.PASS:
            return _cleared(state, stand, settings)
        case Verdict.ERROR:
            return f"No verdict on the release: {fault}; check the routes, then resume."
        case Verdict.INCONCLUSIVE:
            return _undecided(state, stand, settings)
        case _:
            assert_never(verdict)


def _harm(state: JudgeState, stand: Evidence, settings: JudgeSettings) -> str:
    weighted = stand.against[0] + np.log(mixture.alpha_shares(settings))
    row = settings.protect[int(np.argmax(weighted))]
    harm = f"{row.metric} is worse on the challenger ({_figures(row, state)})"
    if stand.rejections[0] + math.log(mixture.REJECTION_SHARE) > weighted.max():
        harm = f"the challenger rejects requests that the champion accepts ({_of_requests(state.rejected, state)})"
    return (
        f"Roll back: {harm}; "
        f"evidence {_odds(stand.mixture[0])} against a release that is no worse, "
        f"limit {_odds(-math.log(settings.alpha))}; {_cost(state)}."
    )


def _cleared(state: JudgeState, stand: Evidence, settings: JudgeSettings) -> str:
    weakest = stand.weakest
    row = settings.protect[weakest]
    rows = ", ".join(row.name for row in settings.protect)
    return (
        f"Promote: {rows} ruled out, the last of them {row.name} ({_figures(row, state)}) "
        f"at {_odds(stand.in_favour[0, weakest])}, limit {_odds(stand.needed[0, weakest])}; {_cost(state)}."
    )


def _undecided(state: JudgeState, stand: Evidence, settings: JudgeSettings) -> str:
    if not state.exposed_requests:
        return f"Not decided: the challenger has answered no request yet ({state.requests[0]} went to the champion)."
    unmeasured = [
        row.metric for row in settings.protect if row.metric != "error_rate" and row.metric not in state.bounds
    ]
    if unmeasured:
        return f"Not decided: no {unmeasured[0]} histogram has arrived; {_cost(state)}."
    weakest = stand.weakest
    row = settings.protect[weakest]
    return (
        f"Not decided: {row.name} is not ruled out ({_figures(row, state)}), {_odds(stand.in_favour[0, weakest])} "
        f"of {_odds(stand.needed[0, weakest])} needed; harm {_odds(stand.mixture[0])} "
        f"of {_odds(-math.log(settings.alpha))}; {_cost(state)}."
    )


def _figures(row: Protect, state: JudgeState) -> str:
    if row.metric == "error_rate":
        return _of_requests(state.errors, state)
    if row.metric in state.seen:
        quantiles = (0.5, 0.95) if row.share is None else (0.5, 1.0 - row.share / 2.0)
        tables = state.seen[row.metric]
        champion, challenger = (_latency(table, state.bounds[row.metric], quantiles) for table in tables)
    else:
        return "not measured"
    return f"challenger {challenger}, champion {champion}"


def _of_requests(counts: tuple[int, int], state: JudgeState) -> str:
    arms = zip(counts, state.requests, strict=True)
    champion, challenger = (f"{100 * count / max(n, 1):.2f} % of {n:,}" for count, n in arms)
    return f"challenger {challenger}, champion {champion}"


def _latency(table: Array, bounds: tuple[float, ...], quantiles: tuple[float, float]) -> str:
    if not table.sum():
        return "unmeasured"
    edges = np.array([0.0, *bounds, bounds[-1]])
    cumulative = np.concatenate([[0.0], np.cumsum(table)]) / table.sum()
    return " ".join(f"p{100 * q:.3g} {_ms(1000 * float(np.interp(q, cumulative, edges)))}" for q in quantiles)


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"


def _odds(log_e: float) -> str:
    if log_e > 20:
        return "over 10^8:1"
    return f"{math.exp(log_e):,.0f}:1" if log_e >= 0 else f"1:{math.exp(min(20.0, -log_e)):,.0f}"


def _cost(state: JudgeState) -> str:
    exposed = state.decision.exposed_requests if state.decision else state.exposed_requests
    until = f" in {state.t_s:g} s" if state.t_s is not None else ""
    return f"{exposed:,} requests exposed{until}"
