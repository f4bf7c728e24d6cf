"""The judge of one region: start, observe a tick, say what the evidence allows, replay recorded ticks.

Pure: same ticks, same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reconciler.core.judge import mixture, sample_ratio, unanswered
from reconciler.core.judge.explain import explain
from reconciler.core.judge.mixture import Counts, Plans
from reconciler.core.judge.outcomes import begun_in
from reconciler.core.judge.settings import JudgeSettings
from reconciler.core.judge.state import Decision, JudgeState
from reconciler.core.judge.tables import counts_of
from reconciler.core.judge.tick_json import check_tick
from reconciler.core.judge.ticks import ArmCounts, Tick
from reconciler.core.judge.weigh import Evidence, cleared, evidence_of, harm
from reconciler.core.model.verdict import Verdict


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

    Raises: JUDGE-001 to JUDGE-003 for an impossible tick.
    """
    if state.decision is not None:
        return state
    state = advance(state, tick, settings)
    evidence = weigh(state, settings)
    if harm(evidence, settings)[0] >= settings.rollback_limit:
        return replace(state, decision=decision_of(state, Verdict.FAIL))
    if passes(state, evidence, settings):
        return replace(state, decision=decision_of(state, Verdict.PASS))
    return state


def advance(state: JudgeState, tick: Tick, settings: JudgeSettings) -> JudgeState:
    """Return the state that has taken in one more tick, without a decision.

    Raises: JUDGE-001 to JUDGE-003 for an impossible tick.
    """
    check_tick(tick)
    elapsed_s = settings.tick_s if state.t_s is None else max(0.0, tick.t_s - state.t_s)
    counts, tables = counts_of(tick, elapsed_s, state.tables, settings)
    state = _enter_totals(replace(state, tables=tables), tick, counts)
    plans = Plans(settings, dict(tables.bounds))
    return replace(state, bets=mixture.advance(state.bets, counts, plans, warm=_warm(state, tick, settings)))


def weigh(state: JudgeState, settings: JudgeSettings) -> Evidence:
    """Return the evidence so far."""
    return evidence_of(state.bets, Plans(settings, dict(state.tables.bounds)))


def passes(state: JudgeState, evidence: Evidence, settings: JudgeSettings) -> bool:
    """Say whether the challenger may be promoted: every row is refuted, and traffic follows the weight."""
    return bool(cleared(evidence, settings)[0]) and sample_ratio.fault(state.sample_ratio) is None


def decision_of(state: JudgeState, verdict: Verdict) -> Decision:
    """Return a decision made now."""
    return Decision(verdict, state.t_s or 0.0, state.exposed_requests)


def judge(state: JudgeState, settings: JudgeSettings) -> Judgement:
    """Return the verdict so far: FAIL, then a routing fault (ERROR), then PASS, else INCONCLUSIVE."""
    evidence = weigh(state, settings)
    return judged(state, evidence, float(harm(evidence, settings)[0]), settings)


def judged(state: JudgeState, evidence: Evidence, log_e: float, settings: JudgeSettings) -> Judgement:
    """Return the judgement when `log_e` is what all bets say together, of this region or of the whole rollout."""
    fault = sample_ratio.fault(state.sample_ratio)
    decision = state.decision
    verdict = decision.verdict if decision else Verdict.ERROR if fault else Verdict.INCONCLUSIVE
    return Judgement(
        verdict=verdict,
        sentence=explain(verdict, state, evidence, log_e, settings),
        evidence=_to_json(evidence, log_e, settings, fault),
        exposed_requests=decision.exposed_requests if decision else state.exposed_requests,
        decided_at_s=decision.decided_at_s if decision else None,
    )


def answered_within_s(state: JudgeState) -> float | None:
    """Return the age by which 99 % of the champion's requests had ended; None when nobody knows."""
    if state.bets.unanswered is None:
        return None
    age_s = float(unanswered.answered_age_s(state.bets.unanswered, share=0.99)[0])
    return age_s if math.isfinite(age_s) else None


def replay(ticks: Iterable[Tick], settings: JudgeSettings) -> Judgement:
    """Judge recorded ticks in their order.

    Raises: as `observe`.
    """
    state = start(settings)
    for tick in ticks:
        state = observe(state, tick, settings)
    return judge(state, settings)


def _enter_totals(state: JudgeState, tick: Tick, counts: Counts) -> JudgeState:
    told = mixture.outcomes_of(state.bets, counts)
    now = begun_in(told[0])[0]
    champion, challenger = int(now[0]), int(now[1])
    both = (tick.champion, tick.challenger)
    first = state.first_request_s
    return replace(
        state,
        t_s=tick.t_s if state.t_s is None else max(state.t_s, tick.t_s),
        first_request_s=tick.t_s - counts.elapsed_s if first is None and challenger else first,
        requests=_added(state.requests, both, "requests"),
        errors=_added(state.errors, both, "errors"),
        rejected=_added(state.rejected, both, "rejected"),
        exposed_requests=state.exposed_requests + sum(int(begun_in(each)[0, 1]) for each in told),
        sample_ratio=sample_ratio.follow(
            state.sample_ratio, tick.t_s, counts.elapsed_s, tick.weight_pct, (champion, challenger),
            by_start=counts.windows is not None,
        ),
    )  # fmt: skip


def _added(before: tuple[int, int], arms: tuple[ArmCounts, ArmCounts], name: str) -> tuple[int, int]:
    champion, challenger = (getattr(arm, name) for arm in arms)
    return before[0] + champion, before[1] + challenger


def _warm(state: JudgeState, tick: Tick, settings: JudgeSettings) -> bool:
    first = state.first_request_s
    return first is not None and tick.t_s - first > settings.warmup_s


def _to_json(evidence: Evidence, log_e: float, settings: JudgeSettings, fault: str | None) -> dict[str, Any]:
    """Return both sides' log e-values and limits, JSON-able; `refuted` and `proven` say which limits were passed."""
    rows = [
        {
            "row": row.name, "metric": row.metric, "ratio": row.ratio, "share": row.share,
            "rollback": _rounded(evidence.against[0, i]), "promotion": _rounded(evidence.in_favour[0, i]),
            "promotion_limit": _rounded(evidence.needed[0, i]),
            "refuted": bool(evidence.in_favour[0, i] >= evidence.needed[0, i]),
        }
        for i, row in enumerate(settings.protect)
    ]  # fmt: skip
    favour = evidence.hanging_in_favour
    return {
        "rollback": round(log_e, 6),
        "rollback_limit": round(settings.rollback_limit, 6),
        "promotion": rows[evidence.weakest]["promotion"],
        "promotion_limit": rows[evidence.weakest]["promotion_limit"],
        "rows": rows,
        "rejections": _rounded(evidence.rejections[0]),
        "unanswered": _rounded(evidence.hanging[0].max()),
        "unanswered_promotion": None if favour is None else _rounded(favour[0]),
        "routing_fault": fault,
    }


def _rounded(value: np.floating[Any]) -> float:
    return round(float(value), 6)
