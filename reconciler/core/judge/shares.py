"""How alpha is shared among the bets of one judgement, and the order in which they stand.

Bets: each protect row and the row squared, then rejections and their square, then nearly all and some requests hanging.
"""

from __future__ import annotations

import numpy as np

from reconciler.core.judge import unanswered
from reconciler.core.judge.bets import Array
from reconciler.core.judge.settings import JudgeSettings

# A nat about errors costs ten times the requests of a nat about latency, so errors get more. What is left is kept
# back: overshoot is an approximation, and the filter that excuses noise is calibrated and not proven.
ERRORS_NOISY, LATENCY_NOISY = 0.54, 0.31
ERRORS_QUIET, LATENCY_QUIET = 0.46, 0.42
REJECTION_SHARE = 0.05
UNANSWERED_SHARE = 0.05
ERROR_ROW_SHARE = 0.88  # of a row's alpha; the rest is on the row squared
LATENCY_ROW_SHARE = 0.90


def bet_count(settings: JudgeSettings) -> int:
    """Return the number of bets."""
    return len(bet_shares(settings))


def bet_shares(settings: JudgeSettings) -> Array:
    """Return each bet's share of alpha, [B]; they add up to at most 1."""
    shares: list[float] = []
    for row, share in zip(settings.protect, row_shares(settings), strict=True):
        own = row_share(row.metric)
        shares += [share * own, share * (1.0 - own)]
    if any(row.metric == "error_rate" for row in settings.protect):
        shares += [REJECTION_SHARE * ERROR_ROW_SHARE, REJECTION_SHARE * (1.0 - ERROR_ROW_SHARE)]
        shares += [UNANSWERED_SHARE * part for part in unanswered.SHARES]
    return np.array(shares)


def row_share(metric: str) -> float:
    """Return the part of a row's alpha that is on the row itself and not on its square."""
    return ERROR_ROW_SHARE if metric == "error_rate" else LATENCY_ROW_SHARE


def row_shares(settings: JudgeSettings) -> tuple[float, ...]:
    """Return each row's share of alpha; rows of one kind share equally, one kind alone gets all that rows get.

    With the shares of rejections and of requests without an end, which rows of errors bring along, they are at most 1.
    """
    errors = sum(row.metric == "error_rate" for row in settings.protect)
    others = len(settings.protect) - errors
    if not errors or not others:
        whole = 1.0 - REJECTION_SHARE - UNANSWERED_SHARE if errors else 1.0
        return tuple(whole / len(settings.protect) for _ in settings.protect)
    noisy = settings.noise > 0.0
    of_errors = ERRORS_NOISY if noisy else ERRORS_QUIET
    of_latency = LATENCY_NOISY if noisy else LATENCY_QUIET
    return tuple(of_errors / errors if row.metric == "error_rate" else of_latency / others for row in settings.protect)
