"""How requests ended, by the weight under which they began, for R runs side by side.

Failures end at once and answers take their time, so what ends in a tick says nothing about how many began. A bad
outcome is therefore compared with the requests of the same windows that have not had it, whether they have ended or
not. Where nobody knows when requests began, those that ended stand in for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array

BEGUN, ENDED, ERRORS, REJECTED = range(4)
BAD, SPARED, NEW, FINE = range(4)

Key = tuple[float, float]


@dataclass(frozen=True)
class Rows:
    """One window as it stands: `counts` [R, 2, 4] of champion and challenger: begun, ended, errors, rejected."""

    weight_pct: float
    began_s: float
    window_s: float
    counts: Array

    @property
    def key(self) -> Key:
        """Return what tells windows apart; older ones sort first."""
        return self.began_s, self.weight_pct

    @property
    def begun(self) -> Array:
        """Return how many began, [R, 2]."""
        return self.counts[..., BEGUN]

    @property
    def ended(self) -> Array:
        """Return how many have ended, [R, 2]."""
        return self.counts[..., ENDED]


@dataclass(frozen=True)
class Outcomes:
    """One tick under one weight: `errors` and `rejected` [R, 2, 4] of champion and challenger.

    The four: requests that had the bad outcome in the tick, those of the same windows that were spared so far, those
    that began in the tick, those that ended in it without the outcome.
    """

    weight_pct: float
    errors: Array
    rejected: Array | None = None


def ended_outcomes(weight_pct: float, requests: Array, errors: Array, rejected: Array | None = None) -> Outcomes:
    """Return the outcomes of requests that were counted as they ended, [R, 2] each."""
    served = requests - errors
    failed = np.stack([errors, served, requests, served], -1)
    if rejected is None:
        return Outcomes(weight_pct, failed)
    accepted = served - rejected
    return Outcomes(weight_pct, failed, np.stack([rejected, accepted, served, accepted], -1))


def window_outcomes(
    known: Mapping[Key, Rows], rows: Sequence[Rows], weight_pct: float, runs: int
) -> tuple[Outcomes, ...]:
    """Return what moved since the windows were `known`, by weight; the one in force is first, moved or not."""
    nothing = np.zeros((runs, 2, 4))
    by_weight = {weight_pct: (nothing, nothing)}
    for row in rows:
        before = known[row.key].counts if row.key in known else nothing
        errors, rejected = by_weight.get(row.weight_pct, (nothing, nothing))
        moved = np.maximum(row.counts - before, 0.0)
        by_weight[row.weight_pct] = (errors + _errors(row.counts, moved), rejected + _rejected(row.counts, moved))
    return tuple(Outcomes(weight, *both) for weight, both in by_weight.items())


def begun_in(outcomes: Outcomes) -> Array:
    """Return how many requests began in the tick under that weight, [R, 2]."""
    return outcomes.errors[..., NEW]


def _errors(now: Array, moved: Array) -> Array:
    bad = moved[..., ERRORS]
    spared = now[..., BEGUN] - now[..., ERRORS]
    return _split(bad, spared, moved[..., BEGUN], moved[..., ENDED] - bad)


def _rejected(now: Array, moved: Array) -> Array:
    bad = moved[..., REJECTED]
    spared = now[..., BEGUN] - now[..., ERRORS] - now[..., REJECTED]
    return _split(bad, spared, moved[..., BEGUN], moved[..., ENDED] - moved[..., ERRORS] - bad)


def _split(bad: Array, spared: Array, new: Array, fine: Array) -> Array:
    """Return the four; a window in which nothing began and nothing went wrong compares with nothing."""
    speaks = ((bad + new).sum(1) > 0)[:, None]
    return np.stack([bad, np.where(speaks, spared, 0.0), new, np.maximum(fine, 0.0)], -1)
