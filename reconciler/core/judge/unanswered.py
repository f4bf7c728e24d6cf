"""Requests that began and do not end: bets that the challenger leaves them unanswered, for R runs side by side.

Of the requests that began in one window the champion's are counted at one age and the challenger's at twice that age.
If the challenger's answers take at most twice as long as the champion's would have, at least as large a share of them
has ended, whatever the durations are: only requests that wait for ever, or nearly, pay. At which age a window is
looked at follows from earlier windows alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reconciler.core.judge.bets import BLOCK_REQUESTS, Array, Flags, settle, zeroed
from reconciler.core.judge.outcomes import Rows
from reconciler.core.judge.settings import JudgeSettings

AGES_S = (10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 75.0, 90.0, 110.0, 130.0, 160.0, 200.0, 250.0, 300.0, 360.0,
          450.0, 600.0)  # fmt: skip
HORIZON_S = 1800.0  # what a gateway remembers at the least
SLACK = 2.0  # the challenger is given so many times the champion's age
ENDED_MIN = (0.3, 0.9)
"""The share of the champion's requests that has to have ended at the age of each bet.

Almost no answer shows early; one in five that is missing shows only when nearly all others are there.
"""
LEFT = (0.125, 0.85)
"""What each bet leaves of that share: nearly all requests hang, or one in five.

At twice the age more have ended than at once, so one in five that hang look like fewer.
"""
SHARES = (0.5, 0.5)
_KNOWN_MIN = 20.0  # earlier requests at an age before that age is chosen
_MEMORY_REQUESTS = 2_000.0
_ENDED_RANGE = (0.02, 0.99)
_CAP = 0.5  # of a bet's own limit that one block may add: a single window never convicts
_OWN_WEIGHT = 0.5
_NEARLY_ALL = 0.998  # of those that ever ended
_LAST_AGES = 4  # of the known ones, after which answers may still come
_WEIGHTS_MAX = 8  # of a long ramp whose blocks are kept
_LIMIT_MORE = 3.0  # what the bets' small share of alpha adds to their limit


@dataclass(frozen=True)
class Open:
    """A window that is still looked at; `passed` of `AGES_S` are behind it.

    `champion` [R, B, 2] (ended, not ended) and `expected` [R, B], the share that should have ended, as they were at
    `age_s` [R, B]: 0 before a bet has chosen its age, infinite after it was settled.
    """

    rows: Rows
    passed: int
    champion: Array
    expected: Array
    age_s: Array


@dataclass(frozen=True)
class Pending:
    """Windows of one weight that wait for a full block: counts [R, B, 2, 2] and the ended that were expected [R, B]."""

    counts: Array
    expected: Array


@dataclass(frozen=True)
class UnansweredState:
    """Open windows, oldest first; `past` [R, ages, 2]: (ended, begun) of the champion; log wealth [R, B].

    `own` [R]: log e-value for a challenger of whose requests few enough hang, whatever the champion's do.
    """

    windows: tuple[Open, ...]
    past: Array
    pending: Mapping[float, Pending]
    up: Array
    down: Array
    own: Array


def first_state(runs: int) -> UnansweredState:
    """Return the state before any window."""
    wealth = np.zeros((runs, len(LEFT)))
    return UnansweredState((), np.zeros((runs, len(AGES_S), 2)), {}, wealth, wealth, np.zeros(runs))


def advance(state: UnansweredState, rows: Sequence[Rows], t_s: float, settings: JudgeSettings) -> UnansweredState:
    """Take what is known of windows at `t_s`, look at each that has come of age, and settle full blocks."""
    windows = []
    for window in _merged(state.windows, rows, len(state.up)):
        state, looked = _look(state, window, t_s)
        windows.append(looked)
    state, windows = _without_finished(state, windows, t_s)
    for weight in state.pending:
        state = _settle(state, weight, settings)
    pending = dict(list(state.pending.items())[-_WEIGHTS_MAX:])
    return replace(state, windows=tuple(windows), pending=pending)


def restarted(state: UnansweredState, mask: Flags) -> UnansweredState:
    """Return the state with the wealth of the runs in `mask` back at the start; what was learned stays."""
    return replace(state, up=zeroed(state.up, mask), down=zeroed(state.down, mask), own=zeroed(state.own, mask))


def in_favour(state: UnansweredState) -> Array:
    """Return the log e-value against a challenger that leaves some requests without an end, [R]."""
    compared = math.log(1.0 - _OWN_WEIGHT) - state.down[:, -1]
    return np.logaddexp(compared, math.log(_OWN_WEIGHT) + state.own)


def in_flight(state: UnansweredState, *, weight_pct: float, t_s: float) -> Array:
    """Return how many requests that began under another weight may still end at `t_s`, [R]; those that hang may not."""
    late = [window.rows for window in state.windows if window.rows.weight_pct != weight_pct]
    hopeless_s = _hopeless_age_s(state.past)
    waiting = (np.where(t_s - rows.began_s < hopeless_s, (rows.begun - rows.ended).sum(1), 0.0) for rows in late)
    return sum(waiting, np.zeros(len(state.up)))


def answered_age_s(state: UnansweredState, *, share: float) -> Array:
    """Return the age by which `share` of the champion's requests had ended, [R]; infinite when no age is known."""
    ended, begun = state.past[..., 0], state.past[..., 1]
    reached = (begun >= _KNOWN_MIN) & (ended >= share * begun)
    first: Array = np.where(reached.any(1), np.array(AGES_S)[reached.argmax(1)], math.inf)
    return first


def _hopeless_age_s(past: Array) -> Array:
    """Return the age from which on hardly any of the champion's requests ended, [R]; infinite if none is known.

    The last known ages cannot tell: nobody knows what would have ended after them.
    """
    known = past[..., 1] >= _KNOWN_MIN
    ended = np.where(known, past[..., 0] / np.maximum(past[..., 1], 1.0), 0.0)
    over = known & (ended >= _NEARLY_ALL * ended.max(1, keepdims=True))
    later = known.sum(1, keepdims=True) - known.cumsum(1)  # known ages after this one
    over &= later >= _LAST_AGES
    first: Array = np.where(over.any(1), np.array(AGES_S)[over.argmax(1)], math.inf)
    return first


def _merged(windows: tuple[Open, ...], rows: Sequence[Rows], runs: int) -> tuple[Open, ...]:
    known = {window.rows.key: window for window in windows}
    for row in rows:
        known[row.key] = replace(known[row.key], rows=row) if row.key in known else _opened(row, runs)
    return tuple(known[key] for key in sorted(known))


def _opened(row: Rows, runs: int) -> Open:
    bets = len(LEFT)
    return Open(row, 0, np.zeros((runs, bets, 2)), np.zeros((runs, bets)), np.zeros((runs, bets)))


def _look(state: UnansweredState, window: Open, t_s: float) -> tuple[UnansweredState, Open]:
    """Look at one window: enter it into a block, let bets choose its age, and learn what that age is like."""
    age_s = t_s - window.rows.began_s
    if age_s < window.rows.window_s:
        return state, window  # requests still begin in it
    due = (window.age_s > 0) & (age_s >= SLACK * window.age_s)
    if due.any():
        state, window = _entered(state, window, due)
    now = sum(age <= age_s for age in AGES_S)
    if now > window.passed:
        window = replace(_chosen(window, state.past[:, now - 1], now, age_s), passed=now)
        state = replace(state, past=_taught(state.past, window.rows, now - 1))
    return state, window


def _chosen(window: Open, past: Array, now: int, age_s: float) -> Open:
    """Let each bet that has not chosen yet take this age, where enough of the past [R, 2] had ended at it."""
    ended = np.clip(past[:, :1] / np.maximum(past[:, 1:], 1.0), *_ENDED_RANGE)
    enough = (ended >= np.array(ENDED_MIN)) | (now == len(AGES_S))
    takes = (window.age_s == 0) & enough & (past[:, 1:] >= _KNOWN_MIN)
    champion = np.stack([window.rows.ended[:, 0], window.rows.begun[:, 0] - window.rows.ended[:, 0]], -1)[:, None]
    return replace(
        window,
        champion=np.where(takes[..., None], champion, window.champion),
        expected=np.where(takes, ended, window.expected),
        age_s=np.where(takes, age_s, window.age_s),
    )


def _taught(past: Array, rows: Rows, age: int) -> Array:
    """Enter the champion's requests at one age; the memory of it holds some 2,000."""
    begun, ended = rows.begun[:, 0], rows.ended[:, 0]
    kept = np.clip((_MEMORY_REQUESTS - begun) / np.maximum(past[:, age, 1], 1.0), 0.0, 1.0)
    learned = past.copy()
    learned[:, age] = kept[:, None] * past[:, age] + np.stack([ended, begun], -1)
    return learned


def _entered(state: UnansweredState, window: Open, due: Flags) -> tuple[UnansweredState, Open]:
    """Enter a window into its weight's block for the bets that are `due` [R, B]."""
    begun, ended = window.rows.begun[:, 1], window.rows.ended[:, 1]
    challenger = np.broadcast_to(np.stack([ended, begun - ended], -1)[:, None], window.champion.shape)
    counts = np.where(due[..., None, None], np.stack([window.champion, challenger], 2), 0.0)
    before = state.pending.get(window.rows.weight_pct)
    filled = Pending(counts, window.expected * counts.sum((2, 3)))
    if before is not None:
        filled = Pending(before.counts + filled.counts, before.expected + filled.expected)
    settled = replace(window, age_s=np.where(due, math.inf, window.age_s))
    return replace(state, pending={**state.pending, window.rows.weight_pct: filled}), settled


def _settle(state: UnansweredState, weight: float, settings: JudgeSettings) -> UnansweredState:
    pending = state.pending[weight]
    size = pending.counts.sum((2, 3))
    full = size >= BLOCK_REQUESTS
    if not full.any():
        return state
    block = np.where(full[..., None, None], pending.counts, 0.0)
    ended = np.where(full, pending.expected / np.maximum(size, 1.0), 0.5)
    paid = np.stack([_paid(ended[:, bet], block[:, bet], LEFT[bet]) for bet in range(len(LEFT))], 1)
    up, down = _CAP * (_LIMIT_MORE - math.log(settings.alpha)), 2.0 / 3.0 * math.log(settings.beta)
    left = Pending(np.where(full[..., None, None], 0.0, pending.counts), np.where(full, 0.0, pending.expected))
    return replace(
        state,
        pending={**state.pending, weight: left},
        up=state.up + np.minimum(paid, up),
        down=state.down + np.maximum(paid, down),
        own=state.own + _own(block[:, -1, 1]),
    )


def _paid(ended: Array, block: Array, left: float) -> Array:
    """Return what the bet pays on a block [R, 2, 2] when `ended` [R] of the champion's requests should have ended."""
    ratios = np.stack([np.full_like(ended, math.log(left)), np.log((1.0 - left * ended) / (1.0 - ended))], -1)
    return settle(ratios[:, None], block).log_e[:, 0]


def _own(challenger: Array) -> Array:
    """Bet on (ended, not ended) [R, 2] that a quarter as many hang as the last bet says; an e-value if so many do."""
    hanging = 1.0 - LEFT[-1]
    paid: Array = challenger @ np.array([math.log((1.0 - hanging / 4.0) / (1.0 - hanging)), math.log(0.25)])
    return paid


def _without_finished(state: UnansweredState, windows: list[Open], t_s: float) -> tuple[UnansweredState, list[Open]]:
    """Drop windows whose answers are all there, which tells how every later age will find them, and those too old."""
    kept: list[Open] = []
    for window in windows:
        if window.passed > 1 and bool((window.rows.begun == window.rows.ended).all()):
            state = _foreseen(state, window)
        elif t_s - window.rows.began_s <= HORIZON_S:
            kept.append(window)
    return state, kept


def _foreseen(state: UnansweredState, window: Open) -> UnansweredState:
    """Look at a window now as it will be at every later age, for nothing of it will change any more."""
    for age in range(window.passed, len(AGES_S)):
        window = _chosen(window, state.past[:, age], age + 1, AGES_S[age])
        state = replace(state, past=_taught(state.past, window.rows, age))
    due = (window.age_s > 0) & np.isfinite(window.age_s)
    return _entered(state, window, due)[0] if due.any() else state
