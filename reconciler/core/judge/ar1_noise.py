"""Latency noise that belongs to one arm's machines: a filter that excuses it under the null and under each alternative.

The arms' log-latency difference wanders as an AR(1) process; each hypothesis keeps a Gaussian belief about where it is
now, and its likelihood is averaged over that belief, so a slow minute of a noisy host is worth no more than the noise
allows. Source: Kalman (1960); Durbin and Koopman, ch. 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reconciler.core.judge.bets import Array
from reconciler.core.judge.settings import JudgeSettings


@dataclass(frozen=True)
class Belief:
    """Mean and variance of the log-latency difference now, [R, H], one for each hypothesis."""

    mean: Array
    variance: Array


def stationary(settings: JudgeSettings) -> float:
    """Return the variance of the difference of two arms, each with log-sd `noise`."""
    return 2.0 * settings.noise**2


def at_rest(shape: tuple[int, int], settings: JudgeSettings) -> Belief:
    """Return the belief before any data."""
    return Belief(np.zeros(shape), np.full(shape, stationary(settings)))


def wait(belief: Belief, elapsed_s: Array, settings: JudgeSettings) -> Belief:
    """Let `elapsed_s` [R] pass: forget towards the stationary state."""
    kept = np.exp(-np.maximum(elapsed_s, 0.0) / settings.noise_memory_s)[:, None]
    return Belief(kept * belief.mean, kept**2 * belief.variance + (1.0 - kept**2) * stationary(settings))


def absorb(belief: Belief, score: Array, information: Array) -> tuple[Array, Belief]:
    """Average exp(score·δ - information·δ²/2) over the belief; return its log and the belief given the data."""
    mean, variance = belief.mean, belief.variance
    gain = 1.0 + variance * information
    quadratic = mean * score + 0.5 * variance * score**2 - 0.5 * information * mean**2
    return quadratic / gain - 0.5 * np.log(gain), Belief((mean + variance * score) / gain, variance / gain)


def step_of(settings: JudgeSettings) -> float:
    """Return the log step over which a likelihood is differentiated: the noise's own scale."""
    return max(math.sqrt(stationary(settings)), 0.01)
