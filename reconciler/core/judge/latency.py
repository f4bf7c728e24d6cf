"""The state of one latency metric: what was bet on its histogram so far, for R runs side by side.

A block closes when it holds 20 requests; until then ticks are pooled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from reconciler.core.judge import ar1_noise, whole_buckets
from reconciler.core.judge.ar1_noise import Belief
from reconciler.core.judge.bets import (
    BLOCK_REQUESTS,
    Array,
    Flags,
    null_variance,
    overshoot,
    settle,
    tilted_variance,
    zeroed,
)
from reconciler.core.judge.settings import JudgeSettings, Protect
from reconciler.core.judge.shapes import Slower, Stretcher, shifted_log_ratios, smoothed_cdf, unmix
from reconciler.core.judge.whole_buckets import Reach

SHAPE_HALF_LIFE_S = 60.0
SHAPE_REQUESTS_MIN = 1000.0
_LOOKS = 4  # at most, for where the noise may be; nearly always one is enough
_FAR = 2.0  # steps from where a likelihood was taken
_EXCUSED_SDS = 3.0  # of the noise, which whole buckets take off a row's ratio instead of following it
_BLOCK_MOST = 2.0 / 3.0
_TAIL_BLOCK_MOST = 0.25
"""What a block may add to a tail's bet, of a limit: requests that a server's stall made late together are one event."""
TAIL = 0.999  # a request that waits longer than all but one in a thousand is not waited for after a weight change


@dataclass(frozen=True)
class LatencyState:
    """Pending counts [R, 2, C], the past pooled and the champion's alone [R, C], and each bet's wealth.

    Hypotheses H: first plain noise, then each bet (rows, then their squares). `fixed_*` [R, H-1]: log likelihood ratio
    without noise. `noisy_*` [R, H]: averaged over it. `*_up` are capped for rolling back, `*_down` for promoting.
    `refuted` [R, rows]: what whole buckets say against each row. `past_challenger` [R]: its count in the pooled past.
    """

    pending: Array
    past: Array
    past_challenger: Array
    past_champion: Array
    since_s: Array
    fixed_up: Array
    noisy_up: Array
    fixed_down: Array
    noisy_down: Array
    refuted: Array
    belief: Belief
    overshoot: Array


@dataclass(frozen=True)
class LatencyPlan:
    """The bets of one metric on fixed bounds: `rows` protect rows, then their squares; and each row's whole buckets."""

    bounds: tuple[float, ...]
    bets: tuple[Slower, ...]
    settings: JudgeSettings
    reaches: tuple[Reach | None, ...]

    @property
    def noisy(self) -> bool:
        """Say whether one arm's noise has to be excused."""
        return self.settings.noise > 0.0

    @property
    def cells(self) -> int:
        """Return the number of cells, the one above the last bound included."""
        return len(self.bounds) + 1


def plan_bets(bounds: tuple[float, ...], rows: tuple[Protect, ...], settings: JudgeSettings) -> LatencyPlan:
    """Return a bet for each row and one with its ratio squared, for disasters."""
    bets = [Slower(row.share or 1.0, math.log(row.ratio)) for row in rows]
    squares = [Slower(bet.share, 2.0 * bet.log_ratio, or_more=bet.share == 1.0) for bet in bets]
    reaches = tuple(_reach(bounds, row, settings) for row in rows)
    return LatencyPlan(bounds, (*bets, *squares), settings, reaches)


def _reach(bounds: tuple[float, ...], row: Protect, settings: JudgeSettings) -> Reach | None:
    """Return the row's whole buckets, None where they tell nothing; gaps of one answer are no evidence each."""
    if row.metric != "ttft":
        return None
    noise = _EXCUSED_SDS * math.sqrt(ar1_noise.stationary(settings))
    reach = whole_buckets.reach_of(bounds, row.share or 1.0, math.log(row.ratio), noise)
    return reach if reach.tells else None


def first_state(plan: LatencyPlan, runs: int) -> LatencyState:
    """Return the state before any data."""
    bets = len(plan.bets)
    return LatencyState(
        pending=np.zeros((runs, 2, plan.cells)),
        past=np.zeros((runs, plan.cells)),
        past_challenger=np.zeros(runs),
        past_champion=np.zeros((runs, plan.cells)),
        since_s=np.zeros(runs),
        fixed_up=np.zeros((runs, bets)),
        noisy_up=np.zeros((runs, bets + 1)),
        fixed_down=np.zeros((runs, bets)),
        noisy_down=np.zeros((runs, bets + 1)),
        refuted=np.zeros((runs, len(plan.reaches))),
        belief=ar1_noise.at_rest((runs, bets + 1), plan.settings),
        overshoot=np.zeros((runs, bets)),
    )


def learn_shape(state: LatencyState, counts: Array, elapsed_s: float) -> LatencyState:
    """Learn from the champion alone, without a bet: a challenger that warms up says nothing about the release."""
    champion = counts * np.array([1.0, 0.0])[:, None]
    return _remember(state, champion, np.full(len(counts), elapsed_s))


def forget_pending(state: LatencyState) -> LatencyState:
    """Return the state without the block that was filling: its requests met another weight than the next ones."""
    return replace(state, pending=np.zeros_like(state.pending))


def restarted(state: LatencyState, mask: Flags) -> LatencyState:
    """Return the state with all wealth of the runs in `mask` back at the start; what was learned stays."""
    return replace(
        state,
        fixed_up=zeroed(state.fixed_up, mask),
        noisy_up=zeroed(state.noisy_up, mask),
        fixed_down=zeroed(state.fixed_down, mask),
        noisy_down=zeroed(state.noisy_down, mask),
        refuted=zeroed(state.refuted, mask),
        overshoot=zeroed(state.overshoot, mask),
    )


def tail_s(state: LatencyState, plan: LatencyPlan) -> Array:
    """Return the bound below which 99.9 % of the remembered latencies lie, [R]; infinite before there are any."""
    cumulative = np.cumsum(state.past, -1)
    index = (cumulative < TAIL * cumulative[:, -1:]).sum(-1)
    bound: Array = np.where(cumulative[:, -1] > 0, np.array([*plan.bounds, math.inf])[index], math.inf)
    return bound


def advance(
    state: LatencyState,
    counts: Array,
    elapsed_s: float,
    plan: LatencyPlan,
    *,
    clears: Flags | None = None,
    convicts: Flags | None = None,
) -> LatencyState:
    """Add a tick's cell counts [R, 2, C] and settle the bets of each run whose block is full.

    Where `clears` [R] is false the tick may speak for the regression but not against it; `convicts` the other way.
    """
    pending = state.pending + counts
    since_s = state.since_s + elapsed_s
    full = pending.sum((1, 2)) >= BLOCK_REQUESTS
    block = np.where(full[:, None, None], pending, 0.0)
    after = _remember(state, block, since_s)
    share = after.past_challenger / np.maximum(after.past.sum(-1), 1.0)
    refuted = _refuted(state, after.past_champion, block[:, 1], plan)
    moved = _settle_block(replace(after, refuted=refuted), block, share, since_s, plan)
    moved = moved if clears is None else _without_clearing(state, moved, clears)
    moved = moved if convicts is None else _without_convicting(state, moved, convicts)
    held = replace(state, overshoot=np.zeros_like(state.overshoot))
    chosen = _choose(full, moved, held)
    return replace(
        chosen,
        pending=np.where(full[:, None, None], 0.0, pending),
        since_s=np.where(full, 0.0, since_s),
    )


def _without_clearing(before: LatencyState, after: LatencyState, clears: Flags) -> LatencyState:
    """Return `after` with the wealth that promotes no lower than it was, in the runs that may not clear."""
    fixed = np.maximum(after.fixed_down, before.fixed_down)
    noisy = np.maximum(after.noisy_down, before.noisy_down)
    noisy[:, 0] = np.minimum(after.noisy_down[:, 0], before.noisy_down[:, 0])
    chosen = clears[:, None]
    return replace(
        after,
        fixed_down=np.where(chosen, after.fixed_down, fixed),
        noisy_down=np.where(chosen, after.noisy_down, noisy),
        refuted=np.where(chosen, after.refuted, np.minimum(after.refuted, before.refuted)),
    )


def _without_convicting(before: LatencyState, after: LatencyState, convicts: Flags) -> LatencyState:
    """Return `after` with the wealth that rolls back as it was, in the runs that may not convict."""
    chosen = convicts[:, None]
    return replace(
        after,
        fixed_up=np.where(chosen, after.fixed_up, before.fixed_up),
        noisy_up=np.where(chosen, after.noisy_up, before.noisy_up),
        overshoot=np.where(chosen, after.overshoot, 0.0),
    )


def _refuted(state: LatencyState, champion: Array, challenger: Array, plan: LatencyPlan) -> Array:
    """Return what whole buckets say against each row with this block, which adds two thirds of a limit at most."""
    most = -_BLOCK_MOST * math.log(plan.settings.beta)
    known = [
        0.0 if reach is None else np.minimum(whole_buckets.paid(reach, state.past_champion, champion, challenger), most)
        for reach in plan.reaches
    ]
    refuted: Array = state.refuted + np.stack([np.broadcast_to(paid, len(challenger)) for paid in known], 1)
    return refuted


def _settle_block(state: LatencyState, block: Array, share: Array, since_s: Array, plan: LatencyPlan) -> LatencyState:
    """Pay one block into the wealth of each hypothesis."""
    cdf = smoothed_cdf(state.past)
    champions = _champion_cdfs(cdf, share, plan)
    if not plan.noisy:
        return _settle_quiet(state, block, champions, plan)
    fixed = np.concatenate(
        [_single(plan.bounds, bet).log_ratios(c) for bet, c in zip(plan.bets, champions, strict=True)], 1
    )
    belief = ar1_noise.wait(state.belief, since_s, plan.settings)
    averaged, belief = _averaged(belief, state.belief.mean, block, [cdf, *champions], plan)
    return _pay(replace(state, belief=belief), settle(fixed, block).log_e, averaged, plan)


def _averaged(belief: Belief, point: Array, block: Array, cdfs: list[Array], plan: LatencyPlan) -> tuple[Array, Belief]:
    """Average each hypothesis' likelihood over where the noise may be, [R, H], and return what is believed then.

    The likelihood is a parabola only near the point at which it is taken, first the `point` that was believed before.
    Where much evidence drives the belief away from it, it is taken anew: drawn out too far, a parabola would find equal
    arms likelier than they are.
    """
    step = ar1_noise.step_of(plan.settings)
    for _ in range(_LOOKS):
        middle, score, information = _likelihood(point, block, cdfs, plan, step)
        around, found = ar1_noise.absorb(replace(belief, mean=belief.mean - point), score, information)
        averaged, after = middle + around, replace(found, mean=found.mean + point)
        far = np.abs(after.mean - point) >= _FAR * step
        if not far.any():
            break
        point = np.where(far, after.mean, point)
    return averaged, after


def _likelihood(
    point: Array, block: Array, cdfs: list[Array], plan: LatencyPlan, step: float
) -> tuple[Array, Array, Array]:
    """Return the log likelihood, its slope and its curvature, [R, H] each, if the noise is at `point` [R, H]."""
    shifts = point[..., None] + step * np.array([-1.0, 0.0, 1.0])
    table = np.stack(
        [
            shifted_log_ratios(plan.bounds, cdf, bet, shifts[:, h])
            for h, (bet, cdf) in enumerate(zip((_NOTHING, *plan.bets), cdfs, strict=True))
        ],
        1,
    )  # [R, H, 3, C]
    payoff = settle(table.reshape(len(table), -1, table.shape[-1]), block)
    paid = payoff.log_e.reshape(table.shape[:3])
    slope = (table[:, :, 2] - table[:, :, 0]) / (2.0 * step)
    information = tilted_variance(payoff.tilted.reshape(table.shape)[:, :, 1], slope)
    return paid[:, :, 1], (paid[:, :, 2] - paid[:, :, 0]) / (2.0 * step), information


def _settle_quiet(state: LatencyState, block: Array, champions: list[Array], plan: LatencyPlan) -> LatencyState:
    ratios = [_single(plan.bounds, bet).log_ratios(c) for bet, c in zip(plan.bets, champions, strict=True)]
    table = np.concatenate(ratios, 1)
    paid = settle(table, block).log_e
    noisy = np.concatenate([np.zeros_like(paid[:, :1]), paid], 1)
    return _pay(replace(state, overshoot=overshoot(null_variance(table, block))), paid, noisy, plan)


def _pay(state: LatencyState, fixed: Array, noisy: Array, plan: LatencyPlan) -> LatencyState:
    """Add a block's log wealth; a block moves no bet by more than a part of a limit beyond what noise explains."""
    excused = np.maximum(noisy[:, :1], 0.0)
    most = np.array([_BLOCK_MOST if bet.share == 1.0 else _TAIL_BLOCK_MOST for bet in plan.bets])
    up = excused - most * math.log(plan.settings.alpha)
    down = _BLOCK_MOST * math.log(plan.settings.beta)
    capped = np.concatenate([noisy[:, :1], np.minimum(noisy[:, 1:], up)], 1)
    floored = np.concatenate([noisy[:, :1], np.maximum(noisy[:, 1:], down)], 1)
    return replace(
        state,
        fixed_up=state.fixed_up + np.minimum(fixed, up),
        noisy_up=state.noisy_up + capped,
        fixed_down=state.fixed_down + np.maximum(fixed, down),
        noisy_down=state.noisy_down + floored,
    )


def against(state: LatencyState, plan: LatencyPlan) -> Array:
    """Return the log e-value of each bet against every release that is no worse, [R, B]; plain noise is no harm."""
    if not plan.noisy:
        return state.fixed_up
    numerator = np.logaddexp(state.fixed_up, state.noisy_up[:, 1:]) - math.log(2.0)
    excused: Array = np.maximum(0.0, state.noisy_up[:, :1])
    return numerator - excused


def in_favour(state: LatencyState, plan: LatencyPlan) -> Array:
    """Return the log e-value against each row's regression, [R, rows]: of the arms compared, and of whole buckets."""
    compared = _compared(state, plan)
    share = np.array([0.0 if reach is None else whole_buckets.SHARE for reach in plan.reaches])
    with np.errstate(divide="ignore"):
        mixed: Array = np.logaddexp(np.log(1.0 - share) + compared, np.log(share) + state.refuted)
    return mixed


def _compared(state: LatencyState, plan: LatencyPlan) -> Array:
    """Return what the arms compared say against each row's regression, noise there or not at even odds, [R, rows]."""
    rows = len(plan.reaches)
    if not plan.noisy:
        return -state.fixed_down[:, :rows]
    feared: Array = np.logaddexp(state.fixed_down[:, :rows], state.noisy_down[:, 1 : rows + 1])
    return np.logaddexp(0.0, state.noisy_down[:, :1]) - feared


def _champion_cdfs(cdf: Array, share: Array, plan: LatencyPlan) -> list[Array]:
    """Return, for each bet, the champion's CDF if the bet is right about the challenger's part of the past."""
    return [unmix(cdf, share, _single(plan.bounds, bet).log_ratios(cdf)[:, 0]) for bet in plan.bets]


def _remember(state: LatencyState, block: Array, elapsed_s: Array) -> LatencyState:
    """Return the state that remembers the block, older counts halved a minute but not below 1,000 requests."""
    size = state.past.sum(-1)
    kept = np.exp2(-np.maximum(elapsed_s, 0.0) / SHAPE_HALF_LIFE_S)
    kept = np.maximum(kept, np.minimum(1.0, SHAPE_REQUESTS_MIN / np.maximum(size, 1.0)))
    return replace(
        state,
        past=kept[:, None] * state.past + block.sum(1),
        past_challenger=kept * state.past_challenger + block[:, 1].sum(-1),
        past_champion=kept[:, None] * state.past_champion + block[:, 0],
    )


def _choose(full: Flags, moved: LatencyState, held: LatencyState) -> LatencyState:
    def pick(a: Array, b: Array) -> Array:
        return np.where(full.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

    return LatencyState(
        pending=moved.pending,
        past=pick(moved.past, held.past),
        past_challenger=pick(moved.past_challenger, held.past_challenger),
        past_champion=pick(moved.past_champion, held.past_champion),
        since_s=moved.since_s,
        fixed_up=pick(moved.fixed_up, held.fixed_up),
        noisy_up=pick(moved.noisy_up, held.noisy_up),
        fixed_down=pick(moved.fixed_down, held.fixed_down),
        noisy_down=pick(moved.noisy_down, held.noisy_down),
        refuted=pick(moved.refuted, held.refuted),
        belief=Belief(pick(moved.belief.mean, held.belief.mean), pick(moved.belief.variance, held.belief.variance)),
        overshoot=pick(moved.overshoot, held.overshoot),
    )


_NOTHING = Slower(1.0, 0.0)


@lru_cache(maxsize=256)
def _single(bounds: tuple[float, ...], bet: Slower) -> Stretcher:
    return Stretcher(bounds, (bet,))
