"""What a reader learns of simulated latencies when servers cannot be read, or replicas take their counters along."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from reconciler.core.judge.bets import Array
from tests.bench.judge.events import FAILED, Change, Flags, Requests, Service, Whole
from tests.bench.judge.traffic import TICK_S

AWAY_TICKS = 3
_GONE = -1


def tick_of(at_s: Array) -> Whole:
    """Return the tick in which each time lies."""
    tick: Whole = np.floor(np.minimum(at_s, 1e9) / TICK_S).astype(np.int64)
    return tick


def cells_of(
    ticks: int, made: Requests, at_s: Array, value: Array, bounds: tuple[float, ...], weight: Array | None = None
) -> Array:
    """Return how many of `value` fell into each bucket by tick and arm, [T, 2, C]."""
    tick = tick_of(at_s)
    where = (tick >= 0) & (tick < ticks)
    shape = (ticks, 2, len(bounds) + 1)
    cell = np.searchsorted(bounds, value[where])
    index = np.ravel_multi_index([tick[where], made.arm[where], cell], shape)
    weights = np.ones(len(index)) if weight is None else weight[where]
    counted: Array = np.bincount(index, weights, math.prod(shape)).astype(np.float64).reshape(shape)
    return counted


def readable(service: Service, change: Change, outcomes: Whole, rng: Generator) -> Flags:
    """Return in which ticks the servers' metrics were read; `outcomes` [T, 2, 3] by tick of the end."""
    read: Flags = rng.random(len(outcomes)) >= service.blind
    if change.sick_metrics:
        read &= outcomes[:, 1, FAILED] == 0
    return read


def late(cells: Array, read: Flags) -> Array:
    """Return the cells as a reader gets them: what was missed comes with the next reading."""
    if read.all():
        return cells
    known = np.zeros_like(cells)
    waiting: Array = np.zeros_like(cells[0])
    for k, now in enumerate(read):
        waiting = waiting + cells[k]
        if now:
            known[k] = waiting
            waiting = np.zeros_like(waiting)
    return known


def lives_of(service: Service, arm: int, ticks: int, rng: Generator) -> Whole:
    """Return which life each replica is in at each tick, [T, N]; -1 while it is away. The first never goes."""
    count = service.replicas[arm]
    goes = rng.random((ticks, count)) < service.churn_per_s * TICK_S
    goes[:, 0] = False
    lives: Whole = np.cumsum(goes, 0)
    stays_away = goes & (rng.random((ticks, count)) < 0.5)  # the others are back before anybody looks
    for lag in range(AWAY_TICKS):
        lives[lag:][stays_away[: ticks - lag]] = _GONE
    return lives


def told_by(lives: tuple[Whole, Whole], made: Requests, at_s: Array, rng: Generator) -> Whole:
    """Return which replica tells of each request, -1 for none: it has to live until there is something to tell."""
    ticks = len(lives[0])
    begun = np.clip(tick_of(made.began_s), 0, ticks - 1)
    told = np.clip(tick_of(at_s), 0, ticks - 1)
    drawn = rng.random(len(begun))
    found = np.full(len(begun), _GONE)
    for arm, own in enumerate(lives):
        up = own != _GONE
        present = np.argsort(~up, axis=1, kind="stable")  # those that are there come first
        replica = present[begun, (drawn * up.sum(1)[begun]).astype(np.int64)]
        lived = own[begun, replica] == own[told, replica]
        found = np.where((made.arm == arm) & lived, replica, found)
    return found


def summed(cells: Array, lives: Whole) -> tuple[Array, Flags]:
    """Return what the sum over replicas has moved by, [T, C], and where it fell; `cells` [T, N, C] of each replica."""
    ticks = len(cells)
    counted = np.concatenate([np.zeros_like(cells[:1]), np.cumsum(cells, 0)])
    fresh = np.concatenate([np.zeros_like(lives[:1], dtype=np.bool_), lives[1:] != lives[:-1]])
    began = np.maximum.accumulate(np.where(fresh, np.arange(ticks)[:, None], 0), 0)
    before = np.take_along_axis(counted, began[..., None], 0)
    shown = np.where((lives != _GONE)[..., None], counted[1:] - before, 0.0).sum(1)
    moved = np.diff(shown, axis=0, prepend=np.zeros_like(shown[:1]))
    return moved, (moved < -1e-9).any(1)


def from_replicas(each: tuple[Array, Array], lives: tuple[Whole, Whole]) -> Array:
    """Return the cells [T, 2, C] that sums over replicas tell; nothing of a tick in which the sum of an arm fell."""
    (champion, one), (challenger, other) = (summed(cells, own) for cells, own in zip(each, lives, strict=True))
    return np.where((one | other)[:, None, None], 0.0, np.stack([champion, challenger], 1))
