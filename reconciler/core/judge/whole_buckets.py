"""What whole buckets say against a regression of first tokens, where nothing can be told apart inside a bucket.

A bet on which arm a request came from learns nothing while both arms' requests lie in the same one or two buckets,
though a challenger that takes twice as long could not be there. Here the champion's own histogram bounds how many of a
slower challenger's requests lie below a bound, rounded up to whole buckets, and each request that lies there pays.
Source: Wald (1945), "Sequential Tests of Statistical Hypotheses", for the likelihood ratio.

Arrays: R runs, C cells.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array

SHARE = 0.2
"""How much of what speaks against a row is on this bet; the rest is on the one between the arms."""
_ERRORS = 2.0  # standard errors that the champion's share below a bound may be off


@dataclass(frozen=True)
class Reach:
    """Where a row's slower requests would be: those below `bounds[i]` would have been below `bounds[reached[i]]`."""

    share: float
    reached: tuple[int, ...]

    @property
    def tells(self) -> bool:
        """Say whether there is any bound below which a slower arm would have fewer requests."""
        return any(lower < upper for upper, lower in enumerate(self.reached))


def reach_of(bounds: tuple[float, ...], share: float, log_ratio: float, noise: float) -> Reach:
    """Return the reach of a row on `bounds`, in seconds, if noise may hide `noise` of its log ratio."""
    factor = math.exp(max(log_ratio - noise, 0.0))
    return Reach(share, tuple(min(bisect.bisect_left(bounds, b / factor), i) for i, b in enumerate(bounds)))


def paid(reach: Reach, before: Array, champion: Array, challenger: Array) -> Array:
    """Return the log e-value of a block against the row, [R].

    `challenger` [R, C] is the block; `champion` [R, C] what is remembered of the champion with the block, `before`
    without it: that chooses the bound, so that no bound is chosen by what is then bet on it.
    """
    expected, limit = _below(reach, before)
    bound = np.argmax(_divergence(expected, limit), -1)[:, None]
    expected, limit = (np.take_along_axis(values, bound, -1)[:, 0] for values in _below(reach, champion))
    below = np.take_along_axis(np.cumsum(challenger, -1), bound, -1)[:, 0]
    above = challenger.sum(-1) - below
    log_e = below * np.log(expected / limit) + above * np.log((1.0 - expected) / (1.0 - limit))
    return np.where(expected > limit, log_e, 0.0)


def _below(reach: Reach, champion: Array) -> tuple[Array, Array]:
    """Return the champion's share below each bound, and what a slower arm has there at most, [R, C-1] each."""
    size = champion.sum(-1, keepdims=True)
    share = (np.cumsum(champion, -1)[:, :-1] + 0.5) / (size + 1.0)
    error = np.sqrt((share * (1.0 - share) + 1.0 / (size + 1.0)) / (size + 1.0))
    most = np.minimum(share + _ERRORS * error, 1.0 - 0.5 / (size + 1.0))
    slower: Array = (1.0 - reach.share) * most + reach.share * most[:, list(reach.reached)]
    return share, slower


def _divergence(expected: Array, limit: Array) -> Array:
    """Return what a request pays on average while the challenger is as the champion, 0 where the bound tells nothing.

    Source: Kullback and Leibler (1951), of two Bernoulli variables.
    """
    found = expected * np.log(expected / limit) + (1.0 - expected) * np.log((1.0 - expected) / (1.0 - limit))
    return np.where(expected > limit, found, 0.0)
