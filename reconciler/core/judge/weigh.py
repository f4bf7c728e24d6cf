"""What all bets together say for and against R challengers, and what that allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge import failures, latency, restarts, unanswered
from reconciler.core.judge.bets import Array, Flags
from reconciler.core.judge.mixture import LATENCIES, BetStates, Plans, rows_of
from reconciler.core.judge.settings import JudgeSettings, Metric
from reconciler.core.judge.shares import ERROR_ROW_SHARE, bet_count, bet_shares, row_share

REJECTS_MORE = math.log(2.0)


@dataclass(frozen=True)
class Evidence:
    """Log e-values of R runs: `against` and `in_favour` [R, P] of each protect row, in this judgement.

    `needed`: the log limits that `in_favour` has to reach. `rejections` [R] and `hanging` [R, 2]: log e-values for
    rejecting more, and for leaving nearly all or some requests without an end; `hanging_in_favour` [R], against the
    latter, is None where nobody knows when requests began. `wealth` [R, B] of every bet over all judgements, with what
    looking once a tick overshoots in `credited`; `present` [R, B] in this judgement alone.
    """

    against: Array
    in_favour: Array
    needed: Array
    rejections: Array
    hanging: Array
    hanging_in_favour: Array | None
    present: Array
    wealth: Array
    credited: Array

    @property
    def weakest(self) -> int:
        """Return the row of the first run that is furthest from being refuted."""
        return int(np.argmin(self.in_favour[0] - self.needed[0]))


def evidence_of(states: BetStates, plans: Plans) -> Evidence:
    """Return the evidence so far; an unmeasured row stands at 0."""
    settings = plans.settings
    runs = len(states.restarts.count)
    present, overshoot = np.zeros((runs, bet_count(settings))), np.zeros((runs, bet_count(settings)))
    favour = np.zeros((runs, len(settings.protect)))
    needed = np.full_like(favour, -math.log(settings.beta))
    for metric in ("error_rate", *LATENCIES):
        found = _of_metric(states, plans, metric)
        if found is not None:
            rows = [i for i, row in enumerate(settings.protect) if row.metric == metric]
            columns = [2 * i for i in rows] + [2 * i + 1 for i in rows]  # rows, then their squares
            present[:, columns], favour[:, rows], overshoot[:, columns] = found
    hanging = states.unanswered if states.failures is not None else None
    if states.failures is not None and states.rejections is not None:
        errors = [i for i, row in enumerate(settings.protect) if row.metric == "error_rate"]
        needed[:, errors] -= failures.eased(states.failures)
        present[:, -4:-2], overshoot[:, -4:-2] = states.rejections.up, states.rejections.overshoot
    if hanging is not None:
        present[:, -2:] = hanging.up
    wealth, credited = (restarts.total(states.restarts, w) for w in (present, present + overshoot))
    return Evidence(
        against=_per_row(present, settings),
        in_favour=favour,
        needed=needed,
        rejections=_mixed(present[:, -4:-2], ERROR_ROW_SHARE) if states.rejections else np.zeros(runs),
        hanging=np.zeros((runs, 2)) if hanging is None else hanging.up,
        hanging_in_favour=None if hanging is None else unanswered.in_favour(hanging),
        present=present,
        wealth=wealth,
        credited=credited,
    )


def harm(evidence: Evidence, settings: JudgeSettings) -> Array:
    """Return the log e-value of all bets together, [R]: what is compared with 1/alpha when there is one region."""
    together: Array = np.logaddexp.reduce(np.log(bet_shares(settings)) + evidence.credited, 1)
    return together


def joint_harm(regions: list[Evidence], settings: JudgeSettings) -> Array:
    """Return the log e-value of several regions of one rollout together, [R].

    Half is on the product over regions, as a bad release is bad everywhere, half on their mean, as one region may be
    bad alone. Overshoot is credited to one region: the others did not just look.
    """
    wealth, credited = (np.stack([getattr(region, name) for region in regions]) for name in ("wealth", "credited"))
    product = wealth.sum(0) + (credited - wealth).max(0)
    mean = np.logaddexp.reduce(credited, 0) - math.log(len(regions))
    each = np.logaddexp(product, mean) - math.log(2.0)
    together: Array = np.logaddexp.reduce(np.log(bet_shares(settings)) + each, 1)
    return together


def cleared(evidence: Evidence, settings: JudgeSettings) -> Flags:
    """Return which runs may be promoted, [R]: every row is refuted, and so is that some requests hang.

    Nor may the challenger seem to reject more: that bet needs more evidence than the rows, which would promote first.
    """
    rows: Flags = (evidence.in_favour >= evidence.needed).all(1) & ~seems_to_reject(evidence)
    if evidence.hanging_in_favour is None:
        return rows
    return rows & (evidence.hanging_in_favour >= -math.log(settings.beta))


def seems_to_reject(evidence: Evidence) -> Flags:
    """Return for which runs the evidence that the challenger rejects more is more than even, [R]."""
    found: Flags = evidence.rejections >= REJECTS_MORE
    return found


def _of_metric(states: BetStates, plans: Plans, metric: Metric) -> tuple[Array, Array, Array] | None:
    """Return the log wealth of the metric's bets, what speaks against each row, and the overshoot."""
    if not rows_of(plans.settings, metric):
        return None
    if metric == "error_rate":
        state = states.failures
        return None if state is None else (state.up, failures.in_favour(state), state.overshoot)
    measured = states.latency.get(metric)
    if measured is None:
        return None
    plan = plans.latency(metric)
    return latency.against(measured, plan), latency.in_favour(measured, plan), measured.overshoot


def _per_row(present: Array, settings: JudgeSettings) -> Array:
    """Return each row's own evidence: its bet and its square, mixed as alpha is, [R, P]."""
    rows = [_mixed(present[:, 2 * i : 2 * i + 2], row_share(row.metric)) for i, row in enumerate(settings.protect)]
    return np.stack(rows, 1)


def _mixed(pair: Array, share: float) -> Array:
    mixed: Array = np.logaddexp(np.log(share) + pair[:, 0], np.log(1.0 - share) + pair[:, 1])
    return mixed
