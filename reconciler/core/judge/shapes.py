"""What a slower release would do to a latency histogram, read from the pooled past.

The stretch works on logit F over log x, so it is one matrix per factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array

_LOG_RATIO_MAX = 1.5  # one request in a strange cell must not decide
_SPEAKS = 0.7  # a log ratio that only a gap between two humps, or the far tail, reaches
_TINY = 1e-6
_EDGE = 1e-7  # keeps a logit finite


@dataclass(frozen=True)
class Slower:
    """An alternative: a `share` of the requests takes e^`log_ratio` times as long, and all of them e^`shift`.

    `or_more`: it also stands for everything slower than that.
    """

    share: float
    log_ratio: float
    shift: float = 0.0
    or_more: bool = False


def stretch_matrix(bounds: tuple[float, ...], log_factor: float) -> Array:
    """Return M with logit F(x e^-log_factor) = M @ logit F(x) at `bounds`; linear in log x, also beyond the ends."""
    size = len(bounds)
    if size < 2:
        return np.eye(size)
    grid = [math.log(bound) for bound in bounds]
    matrix = np.zeros((size, size))
    for row, x in enumerate(grid):
        left = int(np.clip(np.searchsorted(grid, x - log_factor) - 1, 0, size - 2))
        right = (x - log_factor - grid[left]) / (grid[left + 1] - grid[left])
        matrix[row, left], matrix[row, left + 1] = 1.0 - right, right
    return matrix


def smoothed_cdf(histogram: Array) -> Array:
    """Return F at the finite bounds from pooled cell counts [R, C], as (cumulative + 1/2) / (n + 1), [R, C-1]."""
    cumulative = np.cumsum(histogram, -1)
    return (cumulative[:, :-1] + 0.5) / (cumulative[:, -1:] + 1.0)


class Stretcher:
    """The matrices of a fixed set of alternatives on fixed bounds; `log_ratios` turns a CDF into bets."""

    def __init__(self, bounds: tuple[float, ...], alternatives: tuple[Slower, ...]) -> None:
        self.alternatives = alternatives
        self._whole = [stretch_matrix(bounds, a.shift).T for a in alternatives]
        self._slow = [stretch_matrix(bounds, a.shift + a.log_ratio).T for a in alternatives]

    def log_ratios(self, cdf: Array) -> Array:
        """Return log p1/p0 a cell for each alternative, [R, B, C], when the champion's CDF at the bounds is `cdf`."""
        logit = np.log(cdf / (1.0 - cdf))
        columns = []
        for alternative, whole, slow in zip(self.alternatives, self._whole, self._slow, strict=True):
            columns.append(_ratios(cdf, alternative, logit @ whole, logit @ slow))
        return np.stack(columns, 1)


def shifted_log_ratios(bounds: tuple[float, ...], cdf: Array, bet: Slower, shift: Array) -> Array:
    """Return log p1/p0 a cell, [R, K, C], when on top of the bet everything takes e^`shift` [R, K] times as long."""
    logit = np.log(cdf / (1.0 - cdf))
    whole = _stretched(bounds, logit, shift) if bet.share < 1.0 else logit[:, None]
    return _ratios(cdf[:, None], bet, whole, _stretched(bounds, logit, shift + bet.log_ratio))


def _stretched(bounds: tuple[float, ...], logit: Array, log_factor: Array) -> Array:
    """Return logit F(x e^-log_factor) at the bounds, [R, K, C-1], as `stretch_matrix` has it for one factor."""
    size = len(bounds)
    if size < 2:
        return np.broadcast_to(logit[:, None], (*log_factor.shape, size))
    grid = np.log(np.array(bounds))
    at = grid - log_factor[..., None]
    left = np.clip(np.searchsorted(grid, at) - 1, 0, size - 2)
    right = (at - grid[left]) / (grid[left + 1] - grid[left])
    runs = np.arange(len(logit))[:, None, None]
    moved: Array = (1.0 - right) * logit[runs, left] + right * logit[runs, left + 1]
    return moved


def _ratios(cdf: Array, bet: Slower, whole: Array, slow: Array) -> Array:
    """Return log p1/p0 a cell when a share of the requests has the logits `slow` and the rest those of `whole`."""
    slowed = 1.0 / (1.0 + np.exp(-slow))
    if bet.share < 1.0:
        slowed = (1.0 - bet.share) / (1.0 + np.exp(-whole)) + bet.share * slowed
    ratio = np.log((probabilities(slowed) + _TINY) / (probabilities(cdf) + _TINY))
    ratio = np.clip(ratio, -_LOG_RATIO_MAX, _LOG_RATIO_MAX)
    return never_for_the_slow(ratio) if bet.or_more else ratio


def never_for_the_slow(ratio: Array) -> Array:
    """Return bets [R, C] that do not fall again once a cell speaks loudly for the slower arm.

    A challenger that is far slower than the bet makes a second hump of its own in the pooled past; stretched, that
    hump moves away from where the challenger really is, and the bet would take its requests for the champion's.
    """
    highest = np.maximum.accumulate(ratio, -1)
    return np.where(highest > _SPEAKS, highest, ratio)


def probabilities(cdf: Array) -> Array:
    """Return the cells' probabilities [..., C] of a CDF at the finite bounds [..., C-1]; never negative."""
    edges = np.concatenate([np.zeros_like(cdf[..., :1]), cdf, np.ones_like(cdf[..., :1])], -1)
    return np.maximum(np.diff(edges, axis=-1), 0.0)


def unmix(cdf: Array, share: Array, log_ratio: Array) -> Array:
    """Return the champion's CDF when `cdf` pools both arms and `share` [R] of it is off by `log_ratio` [R, C].

    Without it a pooled histogram hides part of the very regression that the bet is about.
    """
    p0 = probabilities(cdf) / (1.0 - share[:, None] + share[:, None] * np.exp(log_ratio))
    cumulative = np.cumsum(p0 / np.maximum(p0.sum(-1, keepdims=True), 1e-300), -1)[:, :-1]
    champion: Array = np.clip(cumulative, _EDGE, 1.0 - _EDGE)
    return champion
