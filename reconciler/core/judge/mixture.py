"""Every bet of one judgement, advanced tick by tick for R runs side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reconciler.core.judge import closing, failures, latency, restarts, unanswered, undrawn
from reconciler.core.judge.bets import Array, Flags
from reconciler.core.judge.closing import InForce, Judged
from reconciler.core.judge.failures import FailurePlan, FailureState
from reconciler.core.judge.latency import LatencyPlan, LatencyState
from reconciler.core.judge.outcomes import Outcomes, Rows, window_outcomes
from reconciler.core.judge.restarts import Restarts
from reconciler.core.judge.settings import JudgeSettings, Metric, Protect
from reconciler.core.judge.shares import bet_count
from reconciler.core.judge.unanswered import UnansweredState
from reconciler.core.judge.undrawn import Undrawn

LATENCIES: tuple[Metric, ...] = ("ttft", "itl")
REJECTION_RATIO = 4.0
"""Every judgement that protects the error rate also bets that the challenger rejects four times as many requests.

It is no row: clients' own mistakes are as many on both arms, so promotion need not wait for them to be told apart.
"""


@dataclass(frozen=True)
class Counts:
    """One tick of R runs that ended at `t_s`, under the weight in force since `since_s`.

    `latency`: cells [R, 2, C] where they were measured. `windows` that moved, where the gateway knows when requests
    began; else `ended` has what ended, and `answer_s` [R] within which time nearly all answers end, if anybody knows.
    """

    t_s: float
    elapsed_s: float
    weight_pct: float
    latency: dict[Metric, Array]
    windows: tuple[Rows, ...] | None = None
    ended: Outcomes | None = None
    answer_s: Array | None = None
    since_s: float | None = None


@dataclass(frozen=True)
class BetStates:
    """The state of every bet; a latency's opens with its first histogram, `unanswered` with the first window."""

    failures: FailureState | None
    rejections: FailureState | None
    unanswered: UnansweredState | None
    latency: dict[Metric, LatencyState]
    restarts: Restarts
    undrawn: Undrawn
    in_force: InForce | None = None


@dataclass(frozen=True)
class Plans:
    """What is bet on; latency plans appear with their bounds."""

    settings: JudgeSettings
    bounds: dict[Metric, tuple[float, ...]]

    @property
    def failures(self) -> FailurePlan | None:
        """Return the bets on errors, if a row asks for them."""
        rows = rows_of(self.settings, "error_rate")
        return failures.plan_bets(rows, self.settings) if rows else None

    @property
    def rejections(self) -> FailurePlan:
        """Return the bets on rejected requests."""
        return failures.plan_bets((Protect("error_rate", REJECTION_RATIO),), self.settings)

    def latency(self, metric: Metric) -> LatencyPlan:
        """Return the bets on a latency whose bounds are known."""
        return latency.plan_bets(self.bounds[metric], rows_of(self.settings, metric), self.settings)


def rows_of(settings: JudgeSettings, metric: Metric) -> tuple[Protect, ...]:
    """Return the rows about `metric`, in their order."""
    return tuple(row for row in settings.protect if row.metric == metric)


def first_states(settings: JudgeSettings, runs: int) -> BetStates:
    """Return the states before any data."""
    plans = Plans(settings, {})
    fresh, drawn = restarts.first(runs, bet_count(settings)), undrawn.first(runs)
    if plans.failures is None:
        return BetStates(None, None, None, {}, fresh, drawn)
    errors, rejected = (failures.first_state(plan, runs) for plan in (plans.failures, plans.rejections))
    return BetStates(errors, rejected, None, {}, fresh, drawn)


def advance(states: BetStates, counts: Counts, plans: Plans, *, warm: bool) -> BetStates:
    """Enter one tick; while the challenger warms up (`warm` false) latency only learns its shape."""
    outcomes = outcomes_of(states, counts)
    states = _with_windows(states, counts, plans.settings)
    states, changed = _with_weight(states, counts)
    states = _with_undrawn(states, outcomes, counts)
    judged = _judged(states, counts, plans)
    states = _with_outcomes(states, outcomes, judged, plans)
    latencies = dict(states.latency)
    for metric in (metric for metric in counts.latency if rows_of(plans.settings, metric)):
        table = counts.latency[metric]
        plan = plans.latency(metric)
        state = latencies.get(metric) or latency.first_state(plan, len(table))
        state = latency.forget_pending(state) if changed else state
        moves = _moves(judged, metric, convicts=~states.undrawn.found, warm=warm)
        latencies[metric] = _with_latency(state, table, counts.elapsed_s, plan, moves)
    return replace(states, latency=latencies)


def outcomes_of(states: BetStates, counts: Counts) -> tuple[Outcomes, ...]:
    """Return what the tick says of outcomes, by weight; those of the weight in force are first."""
    if counts.windows is None:
        return () if counts.ended is None else (counts.ended,)
    known = {window.rows.key: window.rows for window in states.unanswered.windows} if states.unanswered else {}
    rows = _recent(counts)
    return window_outcomes(known, rows, counts.weight_pct, len(states.restarts.count))


def restarted(states: BetStates, wealth: Array, mask: Flags) -> BetStates:
    """Return the states with a fresh judgement in the runs of `mask`; `wealth` [R, B] is what the ended one had."""
    failed, rejected = (failures.restarted(s, mask) if s else None for s in (states.failures, states.rejections))
    return replace(
        states,
        failures=failed,
        rejections=rejected,
        unanswered=unanswered.restarted(states.unanswered, mask) if states.unanswered else None,
        latency={metric: latency.restarted(state, mask) for metric, state in states.latency.items()},
        restarts=restarts.restarted(states.restarts, wealth, mask),
    )


def _with_windows(states: BetStates, counts: Counts, settings: JudgeSettings) -> BetStates:
    if counts.windows is None:
        return states
    state = states.unanswered or unanswered.first_state(len(states.restarts.count))
    return replace(states, unanswered=unanswered.advance(state, _recent(counts), counts.t_s, settings))


def _recent(counts: Counts) -> list[Rows]:
    return [row for row in counts.windows or () if counts.t_s - row.began_s <= unanswered.HORIZON_S]


def _with_weight(states: BetStates, counts: Counts) -> tuple[BetStates, bool]:
    """Return the states that know the weight in force, and whether it has changed."""
    before = states.in_force
    if before is not None and before.weight_pct == counts.weight_pct:
        return states, False
    since_s = counts.t_s - counts.elapsed_s if counts.since_s is None else counts.since_s
    rose = before is None or counts.weight_pct > before.weight_pct
    late = _late(states, counts)
    under_way = np.zeros(len(states.restarts.count)) if late is None else late
    return replace(states, in_force=InForce(counts.weight_pct, since_s, rose, under_way)), True


def _late(states: BetStates, counts: Counts) -> Array | None:
    if states.unanswered is None:
        return None
    return unanswered.in_flight(states.unanswered, weight_pct=counts.weight_pct, t_s=counts.t_s)


def _with_undrawn(states: BetStates, outcomes: Sequence[Outcomes], counts: Counts) -> BetStates:
    """Compare what was drawn with what servers answered, where the gateway knows which requests it drew."""
    if counts.windows is None:
        return states
    nobody = np.zeros((len(states.restarts.count), 2, 1))
    first_tokens = counts.latency.get("ttft", nobody)
    return replace(states, undrawn=undrawn.follow(states.undrawn, outcomes, first_tokens, counts.elapsed_s))


def _judged(states: BetStates, counts: Counts, plans: Plans) -> Judged:
    assert states.in_force is not None
    known = states.latency.get("ttft")
    never = np.full(len(states.restarts.count), math.inf)
    return closing.judged(
        states.in_force,
        counts.t_s - counts.elapsed_s,
        first_token_s=never if known is None else latency.tail_s(known, plans.latency("ttft")),
        answer_s=counts.answer_s,
        late=_late(states, counts),
    )


def _with_outcomes(states: BetStates, outcomes: Sequence[Outcomes], judged: Judged, plans: Plans) -> BetStates:
    plan = plans.failures
    if plan is None or states.failures is None or states.rejections is None:
        return states
    counted = judged.outcomes[:, None, None]
    failed = [(o.weight_pct, counted * o.errors) for o in outcomes]
    rejected = [(o.weight_pct, counted * o.rejected) for o in outcomes if o.rejected is not None]
    return replace(
        states,
        failures=failures.advance(states.failures, failed, plan),
        rejections=failures.advance(states.rejections, rejected, plans.rejections),
    )


@dataclass(frozen=True)
class _Moves:
    """What a tick's latencies may do, [R] each: be judged at all, clear, and convict."""

    counted: Flags
    clears: Flags
    convicts: Flags
    warm: bool


def _moves(judged: Judged, metric: Metric, *, convicts: Flags, warm: bool) -> _Moves:
    if metric == "ttft":
        return _Moves(judged.first_tokens, judged.first_tokens_clear, convicts, warm)
    return _Moves(judged.answers, judged.answers, convicts, warm)


def _with_latency(
    state: LatencyState, table: Array, elapsed_s: float, plan: LatencyPlan, moves: _Moves
) -> LatencyState:
    if not moves.warm:
        return latency.learn_shape(state, table, elapsed_s)
    counted = moves.counted[:, None, None] * table
    return latency.advance(state, counted, elapsed_s, plan, clears=moves.clears, convicts=moves.convicts)
