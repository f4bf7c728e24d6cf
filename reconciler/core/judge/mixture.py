"""Every bet of one judgement, mixed into one e-value: advanced tick by tick for R runs side by side, and its limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reconciler.core.judge import failures, latency
from reconciler.core.judge.bets import Array
from reconciler.core.judge.failures import FailurePlan, FailureState
from reconciler.core.judge.latency import LatencyPlan, LatencyState
from reconciler.core.judge.settings import JudgeSettings, Metric, Protect

LATENCIES: tuple[Metric, ...] = ("ttft", "itl")
# Of alpha, for errors and for latencies. A nat about errors costs ten times the requests of a nat about latency, so
# errors get more. The rest is kept back: overshoot is an approximation, and the filter that excuses noise is
# calibrated and not proven.
SHARES_NOISY = (0.56, 0.31)
SHARES_QUIET = (0.48, 0.44)
REJECTION_SHARE = 0.06
REJECTION_RATIO = 4.0
"""Every judgement that protects the error rate also bets that the challenger rejects four times as many requests.

It is no row: clients' own mistakes are as many on both arms, so promotion need not wait for them to be told apart.
"""
ERROR_ROW_SHARE = 0.88  # of a row's alpha; the rest is on the row squared
LATENCY_ROW_SHARE = 0.90


@dataclass(frozen=True)
class Counts:
    """One tick of R runs: `requests`, `errors`, `rejected` [R, 2]; latency cells [R, 2, C] where they were measured."""

    requests: Array
    errors: Array
    latency: dict[Metric, Array]
    rejected: Array | None = None


@dataclass(frozen=True)
class BetStates:
    """Every state of a judgement; a latency's state opens with its first histogram."""

    failures: FailureState | None
    latency: dict[Metric, LatencyState]
    rejections: FailureState | None = None


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


@dataclass(frozen=True)
class Evidence:
    """Log e-values, one column a row of `protect`, and the log mixture [R] that is compared with 1/alpha.

    `needed`: the log limits that `in_favour` has to reach. `rejections` [R]: log e-value for rejecting more.
    """

    against: Array
    in_favour: Array
    needed: Array
    rejections: Array
    mixture: Array

    @property
    def weakest(self) -> int:
        """Return the row of the first run that is furthest from being refuted."""
        return int(np.argmin(self.in_favour[0] - self.needed[0]))


def rows_of(settings: JudgeSettings, metric: Metric) -> tuple[Protect, ...]:
    """Return the rows about `metric`, in their order."""
    return tuple(row for row in settings.protect if row.metric == metric)


def first_states(settings: JudgeSettings, runs: int) -> BetStates:
    """Return the states before any data."""
    plans = Plans(settings, {})
    if plans.failures is None:
        return BetStates(None, {})
    return BetStates(failures.first_state(plans.failures, runs), {}, failures.first_state(plans.rejections, runs))


def advance(states: BetStates, counts: Counts, elapsed_s: float, plans: Plans, *, warm: bool) -> BetStates:
    """Enter one tick; while the challenger warms up (`warm` false) latency only learns its shape."""
    plan = plans.failures
    failed = states.failures
    if plan and failed is not None:
        served = counts.requests - counts.errors
        failed = failures.advance(failed, np.stack([counts.errors, served], -1), plan)
    rejections = states.rejections
    if rejections is not None and counts.rejected is not None:
        accepted = counts.requests - counts.errors - counts.rejected
        rejections = failures.advance(rejections, np.stack([counts.rejected, accepted], -1), plans.rejections)
    latencies = dict(states.latency)
    for metric, table in counts.latency.items():
        latency_plan = plans.latency(metric)
        state = latencies.get(metric) or latency.first_state(latency_plan, len(table))
        latencies[metric] = (
            latency.advance(state, table, elapsed_s, latency_plan)
            if warm
            else latency.learn_shape(state, table, elapsed_s)
        )
    return BetStates(failed, latencies, rejections)


def evidence_of(states: BetStates, plans: Plans) -> Evidence:
    """Return the evidence for and against, and the mixture over every bet; an unmeasured row stands at 0."""
    settings = plans.settings
    runs = _runs(states)
    shares = alpha_shares(settings)
    against, favour = np.zeros((runs, len(settings.protect))), np.zeros((runs, len(settings.protect)))
    needed = np.full_like(favour, -math.log(settings.beta))
    parts: list[Array] = []
    for metric in ("error_rate", *LATENCIES):
        columns = [i for i, row in enumerate(settings.protect) if row.metric == metric]
        found = _evidence(states, plans, metric)
        if not columns or found is None:
            parts += [np.full(runs, math.log(shares[i])) for i in columns]
            continue
        up, down, overshoot = found
        row_share = ERROR_ROW_SHARE if metric == "error_rate" else LATENCY_ROW_SHARE
        against[:, columns], favour[:, columns] = _per_row(up, row_share), down
        if metric == "error_rate" and states.failures is not None:
            needed[:, columns] -= failures.eased(states.failures)
        for k, column in enumerate(columns):
            square = k + len(columns)
            parts.append(math.log(shares[column] * row_share) + up[:, k] + overshoot[:, k])
            parts.append(math.log(shares[column] * (1.0 - row_share)) + up[:, square] + overshoot[:, square])
    rejections = np.zeros(runs)
    if states.rejections is not None:
        rejections = _per_row(states.rejections.up + states.rejections.overshoot, ERROR_ROW_SHARE)[:, 0]
        parts.append(math.log(REJECTION_SHARE) + rejections)
    return Evidence(against, favour, needed, rejections, np.logaddexp.reduce(np.stack(parts), 0))


def verdicts(stand: Evidence, settings: JudgeSettings) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return who is to be rolled back and who may be promoted, [R] each; rolling back is looked at first."""
    failed = stand.mixture >= -math.log(settings.alpha)
    passed = (stand.in_favour >= stand.needed).all(1)
    return failed, passed & ~failed


def alpha_shares(settings: JudgeSettings) -> tuple[float, ...]:
    """Return each row's share of alpha; rows of one kind share equally, one kind alone gets all.

    With the share of the bet on rejections, which rows of errors bring along, they are at most 1 together.
    """
    errors = len(rows_of(settings, "error_rate"))
    others = len(settings.protect) - errors
    if not errors or not others:
        whole = 1.0 - REJECTION_SHARE if errors else 1.0
        return tuple(whole / len(settings.protect) for _ in settings.protect)
    error_share, latency_share = SHARES_NOISY if settings.noise > 0.0 else SHARES_QUIET
    return tuple(
        error_share / errors if row.metric == "error_rate" else latency_share / others for row in settings.protect
    )


def _evidence(states: BetStates, plans: Plans, metric: Metric) -> tuple[Array, Array, Array] | None:
    if metric == "error_rate":
        state = states.failures
        return None if state is None else (state.up, failures.in_favour(state), state.overshoot)
    latency_state = states.latency.get(metric)
    if latency_state is None:
        return None
    plan = plans.latency(metric)
    return latency.against(latency_state, plan), latency.in_favour(latency_state, plan), latency_state.overshoot


def _per_row(up: Array, row_share: float) -> Array:
    """Return each row's own evidence: its bet and its square, mixed as alpha is."""
    rows = up.shape[1] // 2
    return np.logaddexp(math.log(row_share) + up[:, :rows], math.log(1.0 - row_share) + up[:, rows:])


def _runs(states: BetStates) -> int:
    if states.failures is not None:
        return len(states.failures.up)
    return len(next(iter(states.latency.values())).past) if states.latency else 1
