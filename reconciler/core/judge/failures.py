"""The state of one bad outcome (errors, rejections): what was bet on which arm it came from, for R runs side by side.

Requests are compared with those that began under the same weight: only among them does the arm say nothing.

Failures are rare, so the past is long (20,000 requests), and a shared outage is recognised: being equal while
everything fails does not make a release good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reconciler.core.judge.bets import BLOCK_REQUESTS, Array, Flags, null_variance, overshoot, settle, zeroed
from reconciler.core.judge.outcomes import BAD, FINE, NEW, SPARED
from reconciler.core.judge.settings import JudgeSettings, Protect

MEMORY_REQUESTS = 20_000.0
EXCESS_MIN = 0.005  # a regression smaller than half a percent of all requests is no harm worth a rollback
_PRIOR_ERRORS, _PRIOR_REQUESTS = 0.5, 50.0
_OWN_RATE_WEIGHT = 0.05
_LEARNED_REQUESTS = 500.0  # from here on a burst of failures is no longer taken for the usual rate
_RATE_MAX = 0.98
LATE_INFORMATION = 20.0
LATE_EASE = 2.5
"""Once a bet's variances add up to LATE_INFORMATION, refuting its row takes 1/(LATE_EASE beta) instead of 1/beta.

By then nine regressions in ten have been rolled back, so that the rest adds little to beta, while without it some good
releases, whose first minutes were unlucky, stay undecided for half an hour.
"""


@dataclass(frozen=True)
class FailureState:
    """Pending [R, 2, 4] by weight, as `Outcomes` has them; past [R, 3] (failed, all, challenger's); log wealth [R, B].

    `overshoot` [R, B] of the latest tick; `information` [R, B]: the variances of all blocks so far, added up.
    `own_rate` [R]: log e-value for a challenger whose own error rate is below the SLO, whatever the champion does.
    """

    pending: Mapping[float, Array]
    past: Array
    up: Array
    down: Array
    own_rate: Array
    overshoot: Array
    information: Array


@dataclass(frozen=True)
class FailurePlan:
    """The ratios that are bet on: `rows` protect rows, then their squares."""

    ratios: tuple[float, ...]
    settings: JudgeSettings


def plan_bets(rows: tuple[Protect, ...], settings: JudgeSettings) -> FailurePlan:
    """Return a bet for each row and one with its ratio squared, for disasters."""
    return FailurePlan((*(row.ratio for row in rows), *(row.ratio**2 for row in rows)), settings)


def first_state(plan: FailurePlan, runs: int) -> FailureState:
    """Return the state before any data."""
    wealth = np.zeros((runs, len(plan.ratios)))
    return FailureState({}, np.zeros((runs, 3)), wealth, wealth, np.zeros(runs), wealth, wealth)


def advance(state: FailureState, groups: Sequence[tuple[float, Array]], plan: FailurePlan) -> FailureState:
    """Add a tick's counts [R, 2, 4] by the weight under which they began, and settle each block that is full.

    What is pending of a weight that is not in this tick is dropped: fewer than a block's requests, whatever the arm.
    """
    kept = {weight: state.pending.get(weight, np.zeros_like(counts)) for weight, counts in groups}
    state = replace(state, pending=kept, overshoot=np.zeros_like(state.overshoot))
    for weight, counts in groups:
        state = _add(state, weight, counts, plan)
    return state


def restarted(state: FailureState, mask: Flags) -> FailureState:
    """Return the state with all wealth of the runs in `mask` back at the start; what was learned stays."""
    up, down, own_rate, overshot, information = (
        zeroed(wealth, mask) for wealth in (state.up, state.down, state.own_rate, state.overshoot, state.information)
    )
    return FailureState(state.pending, state.past, up, down, own_rate, overshot, information)


def _add(state: FailureState, weight: float, counts: Array, plan: FailurePlan) -> FailureState:
    pending = state.pending[weight] + counts
    full = pending[..., : SPARED + 1].sum((1, 2)) >= BLOCK_REQUESTS
    block = np.where(full[:, None, None], pending, 0.0)
    past = _remember(state.past, block)
    table = _tables(past, block, plan)
    compared = block[..., : SPARED + 1]
    payoff = settle(table, compared)
    paid, variance = payoff.log_e, payoff.variance(table)
    up, down = 2.0 / 3.0 * math.log(1.0 / plan.settings.alpha), 2.0 / 3.0 * math.log(plan.settings.beta)
    return replace(
        state,
        pending={**state.pending, weight: np.where(full[:, None, None], 0.0, pending)},
        past=np.where(full[:, None], past, state.past),
        up=state.up + np.minimum(paid, up),
        down=state.down + np.maximum(paid, down),
        own_rate=state.own_rate + _own_rate(block, plan.settings.slo_error_rate),
        overshoot=np.maximum(state.overshoot, overshoot(null_variance(table, compared))),
        information=state.information + variance,
    )


def in_favour(state: FailureState) -> Array:
    """Return the log e-value against each row's regression, [R, rows]: equal to the champion, or good by itself."""
    rows = state.down.shape[1] // 2
    equal = math.log(1.0 - _OWN_RATE_WEIGHT) - state.down[:, :rows]
    return np.logaddexp(equal, math.log(_OWN_RATE_WEIGHT) + state.own_rate[:, None])


def eased(state: FailureState) -> Array:
    """Return what is taken off the log limit of refuting each row, [R, rows]."""
    rows = state.information.shape[1] // 2
    late: Array = np.where(state.information[:, :rows] >= LATE_INFORMATION, math.log(LATE_EASE), 0.0)
    return late


def _remember(past: Array, block: Array) -> Array:
    """Return failed, all and the challenger's requests of the last 20,000; a burst counts up to a limit."""
    requests = block[..., NEW].sum(1)
    failed = block[..., BAD].sum(1)
    expected = requests * _rate(past)
    unusual = (past[:, 1] > _LEARNED_REQUESTS) & (failed > expected + np.sqrt(expected) + 1.0)
    failed = np.where(unusual, expected + np.sqrt(expected) + 1.0, failed)
    kept = np.minimum(1.0, np.maximum(MEMORY_REQUESTS - requests, 0.0) / np.maximum(past[:, 1], 1.0))
    seen: Array = np.stack([failed, requests, block[:, 1, NEW]], -1)
    remembered: Array = kept[:, None] * past + seen
    return remembered


def _rate(past: Array) -> Array:
    rate: Array = (past[:, 0] + _PRIOR_ERRORS) / (past[:, 1] + _PRIOR_REQUESTS)
    return rate


def _tables(past: Array, block: Array, plan: FailurePlan) -> Array:
    """Return log p1/p0 for failed and served, [R, B, 2].

    When more fails than usual p0 rises with it. A row's excess stays the usual one, so that sharing an outage refutes
    nothing; only its square keeps the ratio, so that a challenger that fails outright is caught at once.
    """
    ratio = np.array(plan.ratios)
    square = np.arange(len(ratio)) >= len(ratio) // 2
    usual = _rate(past)[:, None]
    share = (past[:, 2] / np.maximum(past[:, 1], 1.0))[:, None]
    p0 = usual / (1.0 + share * (ratio - 1.0))
    began, failed = block[..., NEW].sum(1), block[..., BAD].sum(1)
    requests = np.maximum(np.where(began > 0, began, failed + block[..., SPARED].sum(1)), 1.0)
    present: Array = (failed - 2.0 * np.sqrt(failed)) / requests
    usual_p0 = p0
    p0 = np.minimum(np.maximum(p0, present[:, None]), _RATE_MAX)
    excess = np.maximum((ratio - 1.0) * np.where(square, p0, usual_p0), EXCESS_MIN)
    p1 = np.minimum(p0 + excess, 0.5 * (1.0 + p0))
    ratios: Array = np.stack([np.log(p1 / p0), np.log((1.0 - p1) / (1.0 - p0))], -1)
    return ratios


def _own_rate(block: Array, limit: float) -> Array:
    """Bet that the challenger's own rate is a quarter of `limit`; an e-value when it is at least `limit`."""
    failed, served = block[:, 1, BAD], block[:, 1, FINE]
    paid: Array = failed * math.log(0.25) + served * math.log((1.0 - limit / 4.0) / (1.0 - limit))
    return paid
