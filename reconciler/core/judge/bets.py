"""A bet on which arm the outcomes of a block came from, given the totals of both arms.

Arrays: R runs, B bets, C cells of the outcome table.
Source: JUDGE.md "One bet"; double saddlepoint after Skovgaard (1987), "Saddlepoint expansions".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BLOCK_REQUESTS = 20  # below it the saddlepoint is off by more than a thousandth
_NEWTON_STEPS = 4


@dataclass(frozen=True)
class Payoff:
    """What bets paid in one block: `log_e` [R, B], and N_o σ(1-σ) under the bet's own alternative, [R, B, C]."""

    log_e: Array
    tilted: Array

    def variance(self, x: Array) -> Array:
        """Return the variance of Σ c_o x_o under the bet's own alternative, [R, B], for `x` [R, B, C]."""
        return tilted_variance(self.tilted, x)


def settle(log_ratio: Array, counts: Array) -> Payoff:
    """Pay the bets `log_ratio` [R, B, C] on `counts` [R, 2, C] (champion, challenger); 0 where one arm is empty."""
    pooled = counts.sum(1)[:, None, :]
    challenger = counts[:, 1, :]
    n, n1 = pooled.sum(-1), challenger.sum(-1)[:, None]
    playable = (n1 > 0) & (n1 < n)
    n, n1 = np.where(playable, n, 2.0), np.where(playable, n1, 1.0)
    start = np.log(n1 / (n - n1))
    odds = np.exp(log_ratio)
    theta = _solve(pooled, odds, n1, start)
    scaled = np.exp(theta)[..., None] * odds
    share = scaled / (1.0 + scaled)
    weights = pooled * share * (1.0 - share)
    free = (pooled * np.log1p(scaled)).sum(-1) - n1 * theta
    log_mgf = free - 0.5 * np.log(np.maximum(weights.sum(-1), 1e-300))
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


def tilted_variance(weights: Array, x: Array) -> Array:
    """Return Σ w x² - (Σ w x)² / Σ w over the cells."""
    first = (weights * x).sum(-1)
    spread: Array = np.maximum((weights * x**2).sum(-1) - first**2 / np.maximum(weights.sum(-1), 1e-300), 0.0)
    return spread


def overshoot(variance: Array) -> Array:
    """Return how far log wealth passes a limit that is looked at once a block. Source: Siegmund (1985), ch. 10."""
    excess: Array = np.minimum(1.0, 0.583 * np.sqrt(variance))
    return excess


def zeroed(values: Array, mask: Flags) -> Array:
    """Return `values` [R, ...] with those of the runs in `mask` at 0."""
    return np.where(mask.reshape(-1, *(1,) * (values.ndim - 1)), 0.0, values)


def _solve(pooled: Array, odds: Array, n1: Array, start: Array) -> Array:
    """Return θ with Σ N_o σ(θ + log odds_o) = n1, [R, B]."""
    theta: Array = np.broadcast_to(start, odds.shape[:2])
    for _ in range(_NEWTON_STEPS):
        scaled = np.exp(theta)[..., None] * odds
        share = scaled / (1.0 + scaled)
        slope = (pooled * share * (1.0 - share)).sum(-1)
        step = ((pooled * share).sum(-1) - n1) / np.maximum(slope, 1e-12)
        theta = theta - np.clip(step, -2.0, 2.0)
    return theta
