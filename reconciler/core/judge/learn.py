"""Measure `noise` from a period in which both arms ran the same release.

Two groups of the champion's replicas teach most. A rollout that was promoted will do: what
its releases always differ by is taken out, what comes and goes is the machines'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from environments.errors import SluiceError
from reconciler.core.judge.bets import Array, null_variance, settle
from reconciler.core.judge.shapes import Slower, Stretcher, smoothed_cdf
from reconciler.core.judge.ticks import Tick, bounds_of, cells

BLOCK_S = 60.0
BLOCKS_MIN = 10
_STEP = 0.03
# A minute's mean of noise that wanders over a minute has this part of its variance: 2/e.
_AVERAGED = 2.0 / math.e
_NORMAL_90 = 1.645
# An hour leaves the estimate uncertain by a fifth, and noise that is taken for too small is excused too little.
_CAUTION = 1.15


@dataclass(frozen=True)
class LearnedNoise:
    """The log-sd of one arm's latency noise, its 90 % interval, and how many blocks of a minute it rests on."""

    sigma: float
    low: float
    high: float
    blocks: int

    @property
    def assumed(self) -> float:
        """Return the noise that a judge should reckon with: a little more than was measured."""
        return _CAUTION * self.sigma


def learn(ticks: Iterable[Tick], *, same_release: bool = True, block_s: float = BLOCK_S) -> LearnedNoise:
    """Return the noise seen in an A/A period, from time to first token.

    Each minute gives an estimate of the arms' log difference and its sampling variance; what is left over is noise.
    Unless both arms ran the `same_release` their mean difference is taken out first.
    Raises: JUDGE-008 when fewer than ten minutes had traffic on both arms, JUDGE-007 when bucket bounds change.
    """
    bounds, blocks = _blocks(list(ticks), block_s)
    estimates = [pair for pair in _estimates(bounds, blocks) if pair is not None]
    if len(estimates) < BLOCKS_MIN:
        raise _too_short(len(estimates))
    shift, information = np.array(estimates).T
    if same_release:
        return _summary(0.5 * (shift**2 - 1.0 / information) / _AVERAGED)
    count = len(shift)
    spread = (shift - shift.mean()) ** 2 * count / (count - 1)
    return _summary(0.5 * (spread - 1.0 / information) / _AVERAGED)


def _summary(variances: Array) -> LearnedNoise:
    """Average the minutes; neighbours are correlated (e^-1), which widens the interval."""
    count = len(variances)
    mean = float(variances.mean())
    error = float(variances.std(ddof=1)) * math.sqrt((1.0 + 2.0 * math.exp(-2.0)) / count)
    low, high = (math.sqrt(max(0.0, mean + sign * _NORMAL_90 * error)) for sign in (-1.0, 1.0))
    return LearnedNoise(math.sqrt(max(0.0, mean)), low, high, count)


def _estimates(bounds: tuple[float, ...], blocks: Sequence[Array]) -> list[tuple[float, float] | None]:
    """Return each block's log difference and its information; None where one arm was idle."""
    stretcher = Stretcher(bounds, (Slower(1.0, -_STEP), Slower(1.0, _STEP)))
    past = np.zeros(len(bounds) + 1)
    found: list[tuple[float, float] | None] = []
    for block in blocks:
        past = 0.5 * past + block.sum(0)
        table = stretcher.log_ratios(smoothed_cdf(past[None]))
        down, up = settle(table, block[None]).log_e[0]
        slope = (table[:, 1:] - table[:, :1]) / (2.0 * _STEP)
        information = float(null_variance(slope, block[None])[0, 0])
        score = float(up - down) / (2.0 * _STEP)
        found.append((score / information, information) if min(block.sum(1)) > 0 and information > 0 else None)
    return found


def _blocks(ticks: Sequence[Tick], block_s: float) -> tuple[tuple[float, ...], list[Array]]:
    """Return the bounds and the cell counts of each block, [2, C]."""
    measured = [tick for tick in ticks if tick.champion.ttft_s and tick.challenger.ttft_s]
    if not measured:
        raise _too_short(0)
    bounds = bounds_of(measured[0].champion.ttft_s)
    grouped: dict[int, Array] = {}
    for tick in measured:
        arms = (tick.champion.ttft_s, tick.challenger.ttft_s)
        if any(set(bounds) - set(bounds_of(arm)) for arm in arms):
            raise SluiceError(
                "JUDGE-007", where="tick.ttft", what="the buckets changed during the period",
                why="counts between other bounds cannot be compared", do="learn from a period with one bucket layout",
            )  # fmt: skip
        table = np.array([cells(arm, bounds) for arm in arms], dtype=np.float64)
        key = math.ceil(tick.t_s / block_s)
        grouped[key] = grouped.get(key, np.zeros_like(table)) + table
    return bounds, [grouped[key] for key in sorted(grouped)]


def _too_short(blocks: int) -> SluiceError:
    return SluiceError(
        "JUDGE-008", where="judge learn", what=f"{blocks} minutes had traffic on both arms; {BLOCKS_MIN} are needed",
        why="noise is a variance, and a variance from so few minutes says nothing",
        do="run both groups of the champion for an hour, or give more ticks",
    )  # fmt: skip
