"""The judge: start, observe a tick, say what the evidence allows, replay recorded ticks.

Pure: same ticks, same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from environments.errors import SluiceError
from reconciler.core.judge import mixture, sample_ratio
from reconciler.core.judge.bets import Array
from reconciler.core.judge.explain import explain
from reconciler.core.judge.mixture import LATENCIES, Counts, Plans
from reconciler.core.judge.settings import JudgeSettings, Metric
from reconciler.core.judge.state import Decision, JudgeState
from reconciler.core.judge.ticks import ArmCounts, Histogram, Tick, bounds_of, cells, check_tick
from reconciler.core.verdict import Verdict

TOKENS_DEFAULT = 100.0


@dataclass(frozen=True)
class Judgement:
    """What the judge says now; `decided_at_s` is None until a PASS or a FAIL, which then stands."""

    verdict: Verdict
    sentence: str
    evidence: dict[str, Any]
    exposed_requests: int
    decided_at_s: float | None


def start(settings: JudgeSettings) -> JudgeState:
    """Return the state before the first tick."""
    return JudgeState(mixture.first_states(settings, 1))


def observe(state: JudgeState, tick: Tick, settings: JudgeSettings) -> JudgeState:
    """Return the state after one more tick; a decided judgement stays as it is.

    Raises: JUDGE-001 to JUDGE-003 for an impossible tick, JUDGE-007 when its buckets do not contain the earlier ones.
    """
    check_tick(tick)
    if state.decision is not None:
        return state
    elapsed_s = settings.tick_s if state.t_s is None else max(0.0, tick.t_s - state.t_s)
    state = _enter_totals(state, tick, elapsed_s)
    counts, state = _counts(state, tick, settings)
    plans = Plans(settings, state.bounds)
    bets = mixture.advance(state.bets, counts, elapsed_s, plans, warm=_warm(state, tick, settings))
    state = replace(state, bets=bets)
    return replace(state, decision=_decide(state, plans, tick.t_s))


def judge(state: JudgeState, settings: JudgeSettings) -> Judgement:
    """Return the verdict so far: FAIL, then a routing fault (ERROR), then PASS, else INCONCLUSIVE."""
    stand = mixture.evidence_of(state.bets, Plans(settings, state.bounds))
    fault = sample_ratio.fault(state.sample_ratio)
    verdict = _verdict(state, fault)
    decision = state.decision
    exposed = decision.exposed_requests if decision else state.exposed_requests
    return Judgement(
        verdict=verdict,
        sentence=explain(verdict, state, stand, settings, fault),
        evidence=_evidence(stand, settings, fault),
        exposed_requests=exposed,
        decided_at_s=decision.decided_at_s if decision else None,
    )


def replay(ticks: Iterable[Tick], settings: JudgeSettings) -> Judgement:
    """Judge recorded ticks in their order.

    Raises: as `observe`.
    """
    state = start(settings)
    for tick in ticks:
        state = observe(state, tick, settings)
    return judge(state, settings)


def _verdict(state: JudgeState, fault: str | None) -> Verdict:
    if state.decision is not None:
        return state.decision.verdict
    return Verdict.ERROR if fault else Verdict.INCONCLUSIVE


def _decide(state: JudgeState, plans: Plans, t_s: float) -> Decision | None:
    failed, passed = mixture.verdicts(mixture.evidence_of(state.bets, plans), plans.settings)
    if failed[0]:
        return Decision(Verdict.FAIL, t_s, state.exposed_requests)
    if passed[0] and sample_ratio.fault(state.sample_ratio) is None:
        return Decision(Verdict.PASS, t_s, state.exposed_requests)
    return None


def _enter_totals(state: JudgeState, tick: Tick, elapsed_s: float) -> JudgeState:
    arms = (tick.champion.requests, tick.challenger.requests)
    first = state.first_request_s
    return replace(
        state,
        t_s=tick.t_s if state.t_s is None else max(state.t_s, tick.t_s),
        first_request_s=tick.t_s - elapsed_s if first is None and arms[1] else first,
        requests=(state.requests[0] + arms[0], state.requests[1] + arms[1]),
        errors=(state.errors[0] + tick.champion.errors, state.errors[1] + tick.challenger.errors),
        rejected=(state.rejected[0] + tick.champion.rejected, state.rejected[1] + tick.challenger.rejected),
        sample_ratio=sample_ratio.follow(state.sample_ratio, tick.t_s, elapsed_s, tick.weight_pct, arms),
    )


def _warm(state: JudgeState, tick: Tick, settings: JudgeSettings) -> bool:
    first = state.first_request_s
    return first is not None and tick.t_s - first > settings.warmup_s


def _counts(state: JudgeState, tick: Tick, settings: JudgeSettings) -> tuple[Counts, JudgeState]:
    """Return the tick as arrays of one run, and the state that knows the bounds and has seen the histograms."""
    bounds, seen = dict(state.bounds), dict(state.seen)
    tables: dict[Metric, Array] = {}
    for metric in LATENCIES:
        if not mixture.rows_of(settings, metric):
            continue
        arms = _histograms(tick, metric)
        if metric not in bounds:
            if not any(arms):
                continue
            bounds[metric] = _common_bounds(arms)
            seen[metric] = np.zeros((2, len(bounds[metric]) + 1))
        table = np.array([_cells(arm, bounds[metric], metric) for arm in arms], dtype=np.float64)
        seen[metric] = seen[metric] + table
        tables[metric] = table[None]
    if "itl" in tables:
        tables["itl"] = tables["itl"] / _tokens_per_request(state, tables, seen, settings)
    both = (tick.champion, tick.challenger)
    counts = Counts(_pair(both, "requests"), _pair(both, "errors"), tables, _pair(both, "rejected"))
    return counts, replace(state, bounds=bounds, seen=seen)


def _tokens_per_request(
    state: JudgeState, tables: dict[Metric, Array], seen: dict[Metric, Array], settings: JudgeSettings
) -> float:
    """Return inter-token gaps a request: the tokens of one request share its arm, so they count as one."""
    if settings.tokens_per_request is not None:
        return settings.tokens_per_request
    answered = sum(state.requests) - sum(state.errors)
    return max(1.0, float(seen["itl"].sum()) / answered) if answered > 0 else TOKENS_DEFAULT


def _histograms(tick: Tick, metric: Metric) -> tuple[Histogram, Histogram]:
    if metric == "ttft":
        return tick.champion.ttft_s, tick.challenger.ttft_s
    return tick.champion.itl_s, tick.challenger.itl_s


def _common_bounds(arms: tuple[Histogram, Histogram]) -> tuple[float, ...]:
    """Return the bounds that both arms have (one arm's, when the other has none yet)."""
    first, second = (set(bounds_of(arm)) for arm in arms)
    common = tuple(sorted(first & second if first and second else first | second))
    if not common:
        raise _layout("ttft/itl", "the arms share no bucket bound")
    return common


def _cells(histogram: Histogram, bounds: tuple[float, ...], metric: Metric) -> list[float]:
    if not histogram:
        return [0.0] * (len(bounds) + 1)
    missing = sorted(set(bounds) - set(bounds_of(histogram)))
    if missing:
        raise _layout(metric, f"bucket {missing[0]:g} is gone")
    return cells(histogram, bounds)


def _pair(arms: tuple[ArmCounts, ArmCounts], name: str) -> Array:
    return np.array([[getattr(arm, name) for arm in arms]], dtype=np.float64)


def _evidence(stand: mixture.Evidence, settings: JudgeSettings, fault: str | None) -> dict[str, Any]:
    """Return both sides' log e-values and limits, JSON-able; `refuted` and `proven` say which limits were passed."""
    limit_back, needed = -math.log(settings.alpha), stand.needed[0]
    rows = [
        {
            "row": row.name, "metric": row.metric, "ratio": row.ratio, "share": row.share,
            "rollback": round(float(stand.against[0, i]), 6), "promotion": round(float(stand.in_favour[0, i]), 6),
            "promotion_limit": round(float(needed[i]), 6), "refuted": bool(stand.in_favour[0, i] >= needed[i]),
        }
        for i, row in enumerate(settings.protect)
    ]  # fmt: skip
    return {
        "rollback": round(float(stand.mixture[0]), 6),
        "rollback_limit": round(limit_back, 6),
        "promotion": rows[stand.weakest]["promotion"],
        "promotion_limit": rows[stand.weakest]["promotion_limit"],
        "rows": rows,
        "rejections": round(float(stand.rejections[0]), 6),
        "routing_fault": fault,
    }


def _layout(metric: str, what: str) -> SluiceError:
    return SluiceError(
        "JUDGE-007", where=f"tick.{metric}", what=what,
        why="counts between other bounds cannot be compared with the earlier ticks",
        do="give both arms the runtime's standard buckets and start the judgement again",
    )  # fmt: skip
