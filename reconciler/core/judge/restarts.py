"""One alpha over judgements that follow one another: after each promotion a fresh judgement watches the next weight.

Each judgement is worth a share of alpha, and the shares add up to 1 however many there are: the first most of it, the
k-th after it 1/(k(k+1)) of the rest. So all wealth of a rollout is one e-process, whenever it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array, Flags

FIRST_SHARE = 0.8


@dataclass(frozen=True)
class Restarts:
    """How often each run has restarted, [R], and the log of what its earlier judgements are worth, [R, B]."""

    count: Array
    earlier: Array


def first(runs: int, bets: int) -> Restarts:
    """Return the state before any judgement has ended."""
    return Restarts(np.zeros(runs), np.full((runs, bets), -np.inf))


def total(restarts: Restarts, wealth: Array) -> Array:
    """Return the log wealth of earlier, present and future judgements together, [R, B]; `wealth` is the present's."""
    present = np.log(_share(restarts.count))[:, None] + wealth
    later = np.log(_later(restarts.count))[:, None]
    together: Array = np.logaddexp(np.logaddexp(restarts.earlier, present), later)
    return together


def restarted(restarts: Restarts, wealth: Array, mask: Flags) -> Restarts:
    """Return the state after the judgement that has `wealth` [R, B] ended in the runs of `mask`."""
    ended = np.logaddexp(restarts.earlier, np.log(_share(restarts.count))[:, None] + wealth)
    return Restarts(restarts.count + mask, np.where(mask[:, None], ended, restarts.earlier))


def _share(count: Array) -> Array:
    later = (1.0 - FIRST_SHARE) / (np.maximum(count, 1.0) * (count + 1.0))
    share: Array = np.where(count == 0, FIRST_SHARE, later)
    return share


def _later(count: Array) -> Array:
    left: Array = (1.0 - FIRST_SHARE) / (count + 1.0)
    return left
