"""The sentence that goes with a verdict: which metric, both arms' figures, how sure, what it cost."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from reconciler.core.judge import latency
from reconciler.core.judge.bets import Array
from reconciler.core.judge.sample_ratio import fault
from reconciler.core.judge.settings import JudgeSettings, Protect
from reconciler.core.judge.shares import bet_shares
from reconciler.core.judge.state import JudgeState
from reconciler.core.judge.weigh import Evidence, seems_to_reject
from reconciler.core.model.verdict import Verdict

_ARMS = ("champion", "challenger")
_FEW_BUCKETS = 2
_RARE = 0.01  # of the requests: so few in a bucket tell nothing


def explain(verdict: Verdict, state: JudgeState, evidence: Evidence, log_e: float, settings: JudgeSettings) -> str:
    """Return one sentence a person can act on; `log_e` is what all bets say together."""
    match verdict:
        case Verdict.FAIL:
            return _harm(state, evidence, log_e, settings)
        case Verdict.PASS:
            return _cleared(state, evidence, settings)
        case Verdict.ERROR:
            return f"No verdict on the release: {fault(state.sample_ratio)}; check the routes, then resume."
        case Verdict.INCONCLUSIVE:
            return _undecided(state, evidence, log_e, settings)
        case _:
            assert_never(verdict)


def _harm(state: JudgeState, evidence: Evidence, log_e: float, settings: JudgeSettings) -> str:
    return (
        f"Roll back: {_worst(state, evidence, settings)}; "
        f"evidence {_odds(log_e)} against a release that is no worse, "
        f"limit {_odds(settings.rollback_limit)}; {_cost(state)}."
    )


def _worst(state: JudgeState, evidence: Evidence, settings: JudgeSettings) -> str:
    """Return what speaks loudest against the challenger."""
    weighted = evidence.credited[0] + np.log(bet_shares(settings))
    loudest = int(np.argmax(weighted))
    if loudest >= 2 * len(settings.protect) + 2:
        return f"the challenger leaves requests without an end ({_unanswered(state)})"
    if loudest >= 2 * len(settings.protect):
        return f"the challenger rejects requests that the champion accepts ({_of_requests(state.rejected, state)})"
    row = settings.protect[loudest // 2]
    return f"{row.metric} is worse on the challenger ({_figures(row, state)})"


def _cleared(state: JudgeState, evidence: Evidence, settings: JudgeSettings) -> str:
    weakest = evidence.weakest
    row = settings.protect[weakest]
    rows = ", ".join(row.name for row in settings.protect)
    return (
        f"Promote: {rows} ruled out, the last of them {row.name} ({_figures(row, state)}) "
        f"at {_odds(evidence.in_favour[0, weakest])}, limit {_odds(evidence.needed[0, weakest])}; {_cost(state)}."
    )


def _undecided(state: JudgeState, evidence: Evidence, log_e: float, settings: JudgeSettings) -> str:
    if not state.requests[1] and state.exposed_requests:
        return f"Not decided: none of the challenger's {state.exposed_requests:,} requests has ended yet."
    if not state.exposed_requests:
        return f"Not decided: the challenger has answered no request yet ({state.requests[0]} went to the champion)."
    unmeasured = _unmeasured(state, settings)
    if unmeasured:
        return f"Not decided: {unmeasured}; {_cost(state)}."
    weakest = evidence.weakest
    row = settings.protect[weakest]
    if evidence.in_favour[0, weakest] >= evidence.needed[0, weakest]:
        if seems_to_reject(evidence)[0]:
            rejected = f"({_of_requests(state.rejected, state)}); {_cost(state)}."
            return f"Not decided: the challenger seems to reject what the champion accepts {rejected}"
        return (
            f"Not decided: it is not ruled out yet that some requests never end ({_unanswered(state)}); {_cost(state)}."
        )
    why = _undrawn(state) or _unending(state) or _coarse(row, state)
    return (
        f"Not decided: {row.name} is not ruled out ({_figures(row, state)}), {_odds(evidence.in_favour[0, weakest])} "
        f"of {_odds(evidence.needed[0, weakest])} needed; harm {_odds(log_e)} "
        f"of {_odds(settings.rollback_limit)}; {_cost(state)}.{why}"
    )


def _unending(state: JudgeState) -> str:
    """Return why nothing has spoken since the weight changed: nobody knows when all answers from before have ended."""
    answered = state.tables.answer_s
    finite = [le for le in answered if math.isfinite(le)]
    if state.bets.unanswered is not None or not finite or answered[max(finite)] >= latency.TAIL * answered[math.inf]:
        return ""
    return (
        f" More than one in a thousand answers take longer than the last bucket of the servers' histogram "
        f"({max(finite):g} s), so nobody knows when those from before a weight change have ended, and nothing counts "
        "after one: give the servers longer buckets (vLLM's --custom-histogram-buckets)."
    )


def _coarse(row: Protect, state: JudgeState) -> str:
    """Return what to do where a row's latencies lie in so few buckets that a slower arm's might lie there too."""
    if row.metric not in state.tables.seen:
        return ""
    seen = state.tables.seen[row.metric].sum(0)
    used = np.flatnonzero(seen >= _RARE * seen.sum())
    if not seen.sum() or used[-1] - used[0] >= _FEW_BUCKETS or used[-1] == len(seen) - 1:
        return ""
    edges = (0.0, *state.tables.bounds[row.metric])
    low, high = (_ms(1000 * edges[i]) for i in (used[0], used[-1] + 1))
    buckets = "one bucket" if used[-1] == used[0] else "two buckets"
    return (
        f" All {row.metric} values lie in {buckets} of the servers' histogram, {low} to {high}, where a slower "
        "challenger may lie as well: give the servers finer ones there (vLLM's --custom-histogram-buckets)."
    )


def _unmeasured(state: JudgeState, settings: JudgeSettings) -> str | None:
    """Return which latency is not measured, and why; None when all are."""
    for row in settings.protect:
        if row.metric in state.tables.misfit:
            return f"the {row.metric} histograms cannot be compared ({state.tables.misfit[row.metric]})"
        if row.metric != "error_rate" and row.metric not in state.tables.bounds:
            return f"no {row.metric} histogram has arrived"
    return None


def _undrawn(state: JudgeState) -> str:
    """Return why latencies convict nobody: an arm answers requests that no weight drew."""
    known = state.bets.undrawn
    if not known.found[0]:
        return ""
    arm = int(np.argmax(known.answered[0] - known.drawn[0]))
    answered, drawn = known.answered[0, arm], known.drawn[0, arm]
    return (
        f" The {_ARMS[arm]}'s servers answered {answered:,.0f} requests lately and the weights drew {drawn:,.0f}, so "
        "latencies convict nobody: stop what names a slot in a header or goes past the gateway."
    )


def _unanswered(state: JudgeState) -> str:
    """Return how many requests of each arm have not ended, of the windows that are still looked at."""
    known = state.bets.unanswered
    windows = known.windows if known else ()
    waiting = sum((w.rows.begun - w.rows.ended for w in windows), np.zeros((1, 2)))[0]
    begun = sum((w.rows.begun for w in windows), np.zeros((1, 2)))[0]
    arms = (f"{arm} {left:.0f} of {all_:.0f} open" for arm, left, all_ in zip(_ARMS, waiting, begun, strict=True))
    return ", ".join(arms)


def _figures(row: Protect, state: JudgeState) -> str:
    if row.metric == "error_rate":
        return _of_requests(state.errors, state)
    if row.metric in state.tables.seen:
        quantiles = (0.5, 0.95) if row.share is None else (0.5, 1.0 - row.share / 2.0)
        tables = state.tables.seen[row.metric]
        champion, challenger = (_latency(table, state.tables.bounds[row.metric], quantiles) for table in tables)
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
    until = f" in {state.t_s:.{1 if state.t_s < 10 else 0}f} s" if state.t_s is not None else ""
    return f"{exposed:,} requests exposed{until}"
