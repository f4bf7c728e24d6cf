"""Whether servers answered requests that no weight drew: a client names an arm in a header, or goes past the gateway.

The gateway's windows leave such requests out, the servers' latencies cannot. Of another kind than the rest (longer
prompts, say) they make an equal release look slower, so latencies then convict nobody. Windows are told when they
close, so for so long after a weight has risen it looks the same; clearing goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array, Flags
from reconciler.core.judge.outcomes import Outcomes, begun_in

HALF_LIFE_S = 300.0
SHARE = 0.2
"""Of an arm's first tokens: with fewer that nobody drew, a metric that is late by a tick or two looks the same."""
_SLACK = 10.0  # requests, which began before anybody counted


@dataclass(frozen=True)
class Undrawn:
    """Requests that the weights drew and first tokens that servers counted lately, champion and challenger, [R, 2]."""

    drawn: Array
    answered: Array

    @property
    def found(self) -> Flags:
        """Say in which runs latencies convict nobody, [R]: an arm answers more than it was drawn, and than the other.

        Where every request has several first tokens (`n` answers to one prompt), both arms answer more.
        """
        beyond = self.answered > self.drawn / (1.0 - SHARE) + _SLACK
        crossed = self.answered * self.drawn[:, ::-1]
        unlike = crossed * (1.0 - SHARE) > crossed[:, ::-1]
        any_arm: Flags = (beyond & unlike).any(-1)
        return any_arm


def first(runs: int) -> Undrawn:
    """Return the state before any data."""
    return Undrawn(np.zeros((runs, 2)), np.zeros((runs, 2)))


def follow(state: Undrawn, outcomes: Sequence[Outcomes], first_tokens: Array, elapsed_s: float) -> Undrawn:
    """Return the state after a tick with these outcomes and cells of first tokens [R, 2, C]."""
    kept = 2.0 ** (-max(elapsed_s, 0.0) / HALF_LIFE_S)
    drawn = np.sum([begun_in(each) for each in outcomes], 0)
    return Undrawn(kept * state.drawn + drawn, kept * state.answered + first_tokens.sum(-1))
