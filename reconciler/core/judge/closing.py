"""What may be judged after a weight has changed, while requests from before it are still under way.

A server counts a latency when it happens and not when its request began. Requests from before a change met the arms at
another weight, and what comes of them late is slow: counted with the others they would speak for one arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array, Flags

LATE_SHARE = 0.005  # of the requests under way at the change: so few left speak for no arm


@dataclass(frozen=True)
class InForce:
    """The weight in force `since_s`, whether it `rose`, and how many requests were under way at the change, [R]."""

    weight_pct: float
    since_s: float
    rose: bool
    under_way: Array


@dataclass(frozen=True)
class Judged:
    """Whether a tick's outcomes, its latencies of whole answers and its first tokens may be judged, [R] each.

    First tokens from before a change that come late are the slow ones. After a rise most of them are the champion's, so
    they convict nobody, and only clearing has to wait: `first_tokens_clear`.
    """

    outcomes: Flags
    answers: Flags
    first_tokens: Flags
    first_tokens_clear: Flags


def judged(
    present: InForce, began_s: float, *, first_token_s: Array, answer_s: Array | None, late: Array | None
) -> Judged:
    """Return what the tick that began at `began_s` may say.

    `first_token_s` and `answer_s` [R]: within which time nearly all have come; `answer_s` is None where nobody measures
    answers. `late` [R]: requests from before the change that are under way, None where nobody knows.
    """
    waited_s = began_s - present.since_s
    everything = np.ones_like(first_token_s, dtype=np.bool_)
    seen = waited_s >= first_token_s
    ended = everything if answer_s is None else waited_s >= answer_s
    if late is not None:
        ended = late <= LATE_SHARE * present.under_way
    return Judged(
        outcomes=everything if late is not None else ended,
        answers=ended,
        first_tokens=seen | present.rose,
        first_tokens_clear=seen,
    )
