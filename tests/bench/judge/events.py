"""A seeded simulator of single requests: when each began, where it went, when and how it ended.

Failures and refusals end at once while answers take their time, so what ends in a tick began at many times and met many
weights: what a simulator of counts cannot show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from reconciler.core.judge.bets import Array
from tests.bench.judge.traffic import TICK_S, Schedule, wander, weight_at

Whole = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

WINDOW_S = 10.0
BEFORE_S = 900.0  # of traffic to the champion alone, whose answers are still under way when the rollout begins
_AT_ONCE_S = 0.02
_NOISE_MEMORY_S = 60.0
SERVED, FAILED, REJECTED = 0, 1, 2


@dataclass(frozen=True)
class Service:
    """What requests are like. `answer_s` is the median of whole answers, whose log-sd is `answer_log_sd`.

    `hanging`: the share that never ends, on both arms. `other_per_s` are requests such as GET /v1/models, which end at
    once and well; `pinned_per_s` name the challenger in a header, so no weight drew them, and wait `pinned_ttft_ratio`
    times as long for their first token. `users`: so many sticky users of Zipf-like weight keep their arm; each fails by
    his own factor of log-sd `user_log_sd`. `by_start`: the gateway knows when requests began; else it counts them as
    they end, and servers tell how long answers take. `replicas` of champion and challenger, each of which goes
    `churn_per_s` and takes its counters along. `blind`: the share of ticks in which a server's metrics cannot be read.
    `arm_noise`: log-sd of the latency noise of one arm's machines, which wanders over a minute.
    """

    requests_per_s: float = 20.0
    answer_s: float = 10.0
    answer_log_sd: float = 0.6
    error_rate: float = 0.01
    rejected_rate: float = 0.03
    hanging: float = 0.0
    other_per_s: float = 0.0
    pinned_per_s: float = 0.0
    pinned_ttft_ratio: float = 1.0
    users: int = 0
    user_log_sd: float = 0.0
    by_start: bool = True
    replicas: tuple[int, int] = (1, 1)
    churn_per_s: float = 0.0
    blind: float = 0.0
    arm_noise: float = 0.0
    ttft_s: float = 0.35
    ttft_log_sd: float = 0.62
    tpot_s: float = 0.04
    tpot_log_sd: float = 0.25
    token_gaps: bool = False


@dataclass(frozen=True)
class Change:
    """How the challenger differs: more errors and rejections, a share that hangs, longer or slower answers.

    `sick_metrics`: its metrics cannot be read whenever it has failed in the tick.
    """

    error_ratio: float = 1.0
    rejected_ratio: float = 1.0
    hanging: float = 0.0
    longer: float = 1.0
    ttft_ratio: float = 1.0
    tpot_ratio: float = 1.0
    sick_metrics: bool = False


SAME = Change()


@dataclass(frozen=True)
class Plan:
    """The fixed times of a simulation: `edges` of cohorts, the weight of each, and when its window began."""

    schedule: Schedule
    duration_s: float
    edges: Array
    weights: Array
    windows_s: Array

    @property
    def ticks(self) -> int:
        """Return the number of ticks."""
        return round(self.duration_s / TICK_S)


@dataclass(frozen=True)
class Requests:
    """The requests of one run, one a place: when each began and ended, its arm, cohort, outcome and latencies.

    `split`: whether the weight drew its arm, so that it belongs to a cohort.
    """

    began_s: Array
    ended_s: Array
    arm: Whole
    cohort: Whole
    outcome: Whole
    first_token_s: Array
    tpot_s: Array
    tokens: Array
    split: Flags


def plan_of(schedule: Schedule, duration_s: float) -> Plan:
    """Return the times at which windows begin and weights change."""
    changes = [
        until_s for (until_s, weight), (_, later) in pairwise(schedule) if until_s < duration_s and weight != later
    ]
    # Windows of wall clock do not know of ticks: they begin four seconds before one.
    windows = np.arange(-BEFORE_S - 4.0, duration_s, WINDOW_S)
    edges = np.unique(np.concatenate([windows, [0.0, duration_s], changes]))
    middles = 0.5 * (edges[1:] + edges[:-1])
    weights = np.array([weight_at(schedule, t) if t > 0 else 0.0 for t in middles])
    began = windows[np.searchsorted(windows, middles, "right") - 1]
    return Plan(schedule, duration_s, edges, weights, began)


def requests_of(service: Service, change: Change, plan: Plan, rng: Generator) -> Requests:
    """Return the requests of one run."""
    rate = service.requests_per_s + service.other_per_s + service.pinned_per_s
    count = int(rng.poisson(rate * (plan.duration_s + BEFORE_S)))
    began = rng.uniform(plan.edges[0], plan.edges[-1], count)
    cohort = np.clip(np.searchsorted(plan.edges, began, "right") - 1, 0, len(plan.weights) - 1)
    kind = rng.random(count) * rate
    other, pinned = kind < service.other_per_s, kind >= rate - service.pinned_per_s
    place, factor = _users(service, rng, count)
    arm = np.where(pinned, 1, place < plan.weights[cohort] / 100.0).astype(np.int64)
    worse = arm == 1
    outcome = np.where(other, SERVED, _outcomes(service, change, worse, factor, rng))
    length = np.exp(service.answer_log_sd * rng.standard_normal(count)) * np.where(worse, change.longer, 1.0)
    at_once = other | (outcome != SERVED)
    lasting = np.where(at_once, _AT_ONCE_S, service.answer_s * length)
    hangs = rng.random(count) < service.hanging + np.where(worse, change.hanging, 0.0)
    silent = at_once | hangs
    slowed = _arm_noise(service, plan, rng, began, arm)
    ttft = service.ttft_s * np.exp(service.ttft_log_sd * rng.standard_normal(count)) * slowed
    # A long answer has a long context, which slows each of its tokens a little.
    tpot = service.tpot_s * length**0.1 * np.exp(service.tpot_log_sd * rng.standard_normal(count)) * slowed
    ttft = ttft * np.where(pinned, service.pinned_ttft_ratio, 1.0) * np.where(worse, change.ttft_ratio, 1.0)
    return Requests(
        began, np.where(hangs, math.inf, began + lasting), arm, cohort, outcome,
        np.where(silent, math.inf, began + np.minimum(ttft, lasting)),
        np.where(silent, math.inf, tpot * np.where(worse, change.tpot_ratio, 1.0)),
        np.where(silent, 0.0, np.ceil(service.answer_s * length / service.tpot_s)),
        ~pinned,
    )  # fmt: skip


def _outcomes(service: Service, change: Change, worse: Flags, factor: Array, rng: Generator) -> Whole:
    failing = np.minimum(service.error_rate * factor * np.where(worse, change.error_ratio, 1.0), 1.0)
    rejecting = service.rejected_rate * np.where(worse, change.rejected_ratio, 1.0)
    drawn = rng.random(len(worse))
    return np.where(drawn < failing, FAILED, np.where(drawn < failing + rejecting, REJECTED, SERVED))


def _arm_noise(service: Service, plan: Plan, rng: Generator, began: Array, arm: Whole) -> Array:
    """Return by how much each request's machines are slower than usual just then."""
    if not service.arm_noise:
        return np.ones(len(began))
    ticks = round((plan.duration_s + BEFORE_S) / TICK_S) + 1
    path = service.arm_noise * wander(rng, ticks, 2, _NOISE_MEMORY_S)
    slowed: Array = np.exp(path[np.clip((began + BEFORE_S) / TICK_S, 0, ticks - 1).astype(np.int64), arm])
    return slowed


def _users(service: Service, rng: Generator, count: int) -> tuple[Array, Array]:
    """Return where in the split each request stands, [0, 1), and by how much its user fails more than the usual one."""
    if not service.users:
        return rng.random(count), np.ones(count)
    weight = 1.0 / np.arange(1, service.users + 1)
    who = rng.choice(service.users, count, p=weight / weight.sum())
    spread = np.exp(service.user_log_sd * rng.standard_normal(service.users) - 0.5 * service.user_log_sd**2)
    return rng.random(service.users)[who], spread[who]
