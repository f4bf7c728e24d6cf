"""A bet on which arm the outcomes of a block came from, given the totals of both arms.

Imports numpy; called by the error and the latency books. Arrays: R runs, B bets, C cells of the outcome table.
Source: JUDGE.md "One bet"; double saddlepoint after Skovgaard (1987), "Saddlepoint expansions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BLOCK_REQUESTS = 20  # below it the saddlepoint is off by more than a thousandth
_NEWTON_STEPS = 4


@dataclass(frozen=True)
class Payoff:
    """What bets paid in one block: `log_e` [R, B], and N_o σ(1-σ) under the bet's own alternative, [R, B, C]."""

    log_e: Array
    tilted: Array


def settle(log_ratio: Array, counts: Array) -> Payoff:
    """Pay the bets `log_ratio` [R, B, C] on `counts` [R, 2, C] (champion, challenger); 0 where one arm is empty."""
    pooled = counts.sum(1)[:, None, :]
    challenger = counts[:, 1, :]
    n, n1 = pooled.sum(-1), challenger.sum(-1)[:, None]
    playable = (n1 > 0) & (n1 < n)
    n, n1 = np.where(playable, n, 2.0), np.where(playable, n1, 1.0)
    start = np.log(n1 / (n - n1))
    theta = _solve(pooled, log_ratio, n1, start)
    share = _logistic(theta[..., None] + log_ratio)
    weights = pooled * share * (1.0 - share)
    log_mgf = _cumulant(pooled, log_ratio, theta, n1) - 0.5 * np.log(np.maximum(weights.sum(-1), 1e-300))
    null = n * np.log(n / (n - n1)) - n1 * start - 0.5 * np.log(n1 * (n - n1) / n)
    paid = (challenger[:, None, :] * log_ratio).sum(-1) - (log_mgf - null)
    return Payoff(np.where(playable, paid, 0.0), np.where(playable[..., None], weights, 0.0))


def null_variance(log_ratio: Array, counts: Array) -> Array:
    """Return the exact variance of Σ c_o r_o given all totals when the arms are exchangeable, [R, B]."""
    pooled = counts.sum(1)[:, None, :]
    n = np.maximum(pooled.sum(-1), 2.0)
    share = counts[:, 1, :].sum(-1)[:, None] / n
    spread: Array = (pooled * log_ratio**2).sum(-1) - (pooled * log_ratio).sum(-1) ** 2 / n
    variance: Array = np.maximum(share * (1.0 - share) * spread * n / (n - 1.0), 0.0)
    return variance


def _solve(pooled: Array, log_ratio: Array, n1: Array, start: Array) -> Array:
    """Return θ with Σ N_o σ(θ + r_o) = n1, [R, B]."""
    theta: Array = np.broadcast_to(start, log_ratio.shape[:2])
    for _ in range(_NEWTON_STEPS):
        share = _logistic(theta[..., None] + log_ratio)
        slope = (pooled * share * (1.0 - share)).sum(-1)
        step = ((pooled * share).sum(-1) - n1) / np.maximum(slope, 1e-12)
        theta = theta - np.clip(step, -2.0, 2.0)
    return theta


def _cumulant(pooled: Array, log_ratio: Array, theta: Array, n1: Array) -> Array:
    free: Array = (pooled * np.logaddexp(0.0, theta[..., None] + log_ratio)).sum(-1)
    return free - n1 * theta


def _logistic(x: Array) -> Array:
    result: Array = 1.0 / (1.0 + np.exp(-x))
    return result
