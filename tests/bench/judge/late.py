"""What a gateway that counts requests as they end tells of those that do not: counted as the product counts them."""

from __future__ import annotations

import numpy as np

from reconciler.core.judge.bets import Array
from reconciler.core.model.counts import Counts
from reconciler.evidence.analyst import ANSWER_FLOOR_S, ANSWER_SLACK
from reconciler.evidence.arms import ANSWERS
from reconciler.evidence.in_flight import InFlight
from reconciler.ports import SlotCounts
from tests.bench.judge.events import FAILED, REJECTED, SERVED, Plan, Requests, Whole
from tests.bench.judge.reading import tick_of
from tests.bench.judge.traffic import TICK_S, weight_at

# The bounds of vLLM's vllm:e2e_request_latency_seconds.
VLLM_E2E_BOUNDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip


def with_late(outcomes: Whole, plan: Plan, made: Requests) -> Whole:
    """Return the outcomes [T, 2, 3] of one run in which a request has failed once it is surely open for too long."""
    age_s = _answer_age_s(made)
    found = outcomes.copy()
    for arm in (0, 1):
        begun, ended = (_by_tick_end(plan, at_s[made.arm == arm]) for at_s in (made.began_s, made.ended_s))
        watched, weight = InFlight(), None
        for k in range(plan.ticks):
            now = TICK_S * (k + 1)
            if weight != (weight := weight_at(plan.schedule, now)):
                watched.begin()
            watched.take(SlotCounts(0, 0, begun=int(begun[k]), in_flight=int(begun[k] - ended[k])), now)
            served, failed, rejected = (int(count) for count in outcomes[k, arm])
            told = watched.with_late(Counts(served + failed + rejected, failed, rejected), age_s)
            found[k, arm, [SERVED, FAILED, REJECTED]] = (
                told.requests - told.errors - told.rejected,
                told.errors,
                told.rejected,
            )
    return found


def _by_tick_end(plan: Plan, at_s: Array) -> Whole:
    """Return how many of the times lie before each tick's end, those before the rollout included."""
    tick = tick_of(at_s)
    within = np.clip(tick[tick < plan.ticks], 0, None)
    counted: Whole = np.cumsum(np.bincount(within, minlength=plan.ticks))
    return counted


def _answer_age_s(made: Requests) -> float:
    """Return the age at which all requests should have ended, as a reader of the champion's histogram works it out."""
    whole = (made.arm == 0) & (made.outcome == SERVED) & np.isfinite(made.ended_s)
    usual = float(np.quantile(made.ended_s[whole] - made.began_s[whole], ANSWERS))
    bound = next(le for le in VLLM_E2E_BOUNDS if le >= usual)
    return max(ANSWER_FLOOR_S, ANSWER_SLACK * bound)
