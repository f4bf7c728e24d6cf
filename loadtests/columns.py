"""Requests as numpy columns: one row a measured request, in the order in which they were due."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from loadtests.engine import LoadRun
from loadtests.profile import Slo
from loadtests.stream import Outcome, Stream

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
LATE_SHARE = 0.25


@dataclass(frozen=True)
class LeftOut:
    """What a late generator spoilt: requests an arm and seconds that no latency is taken from, and how late it was."""

    requests: int = 0
    seconds: int = 0
    worst_ms: float = 0.0


NOTHING_LEFT_OUT = LeftOut()


@dataclass(frozen=True)
class Columns:
    """Measured requests of one arm, each column [N], milliseconds unless the name says otherwise, NaN for "none".

    A request that timed out has the time until it was given up as its latency: it is at least that, and leaving it
    out would let a frozen server look fast. `itl_ms` is a request's mean time between token events. `key` is the same
    for the same request in both arms of a comparison. `timely` is False where the generator was late in a second in
    which the request was due, got its first token or ended: its latencies are partly the generator's.
    """

    key: Ints
    at_s: Floats
    ttft_ms: Floats
    itl_ms: Floats
    e2e_ms: Floats
    tokens: Floats
    ok: Bools
    timely: Bools

    def __len__(self) -> int:
        return len(self.key)

    def take(self, rows: Ints) -> Columns:
        """Return the rows with these numbers."""
        return Columns(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})


def columns_of(run: LoadRun, arm: int) -> Columns:
    """Return the columns of one arm; warm-up and cancelled requests are left out."""
    rows = [_row(stream, run.began) for stream in measured(run, arm)]
    rows.sort(key=lambda row: row[1])
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    at_s, ttft_s, e2e_s = table[:, 1], table[:, 2] / 1e3, table[:, 4] / 1e3
    moments = (at_s, at_s + np.nan_to_num(ttft_s), at_s + np.nan_to_num(e2e_s))
    late = np.array(sorted(stalled_seconds(run)), dtype=np.int64)
    touched = [np.isin(np.floor(moment).astype(np.int64), late) for moment in moments]
    return Columns(
        key=table[:, 0].astype(np.int64),
        at_s=table[:, 1],
        ttft_ms=table[:, 2],
        itl_ms=table[:, 3],
        e2e_ms=table[:, 4],
        tokens=table[:, 5],
        ok=table[:, 6] == 1.0,
        timely=~np.logical_or.reduce(touched),
    )


def late_limit_ms(run: LoadRun) -> float:
    """Return how late the generator may be: `late_ms`, or a quarter of the fastest arm's median TTFT if that is more.

    The median: a percentile above it would be the generator's own delay once a few seconds are late.
    """
    waits = [[s.ttft_s * 1e3 for s in measured(run, arm) if s.ttft_s is not None] for arm in range(len(run.arms))]
    fastest = min((float(np.median(arm)) for arm in waits if arm), default=0.0)
    return max(run.profile.late_ms, LATE_SHARE * fastest)


def stalled_seconds(run: LoadRun) -> frozenset[int]:
    """Return the seconds of the load in which the generator sent a request later than it may; warm-up is below 0."""
    limit_s = late_limit_ms(run) / 1e3
    late = [(s.at - run.began, s.started - run.began) for arm in run.arms for s in arm if s.started - s.at > limit_s]
    return frozenset(second for at_s, sent_s in late for second in range(math.floor(at_s), math.floor(sent_s) + 1))


def left_out_of(run: LoadRun) -> LeftOut:
    """Return how much of a run a late generator spoilt, an arm."""
    spoilt = max((int((~columns_of(run, arm).timely).sum()) for arm in range(len(run.arms))), default=0)
    seconds = sum(0 <= second < run.profile.duration_s for second in stalled_seconds(run))
    worst = max((s.started - s.at for arm in run.arms for s in arm), default=0.0)
    return LeftOut(spoilt, seconds, round(worst * 1e3, 1)) if spoilt else NOTHING_LEFT_OUT


def joined(parts: Sequence[Columns]) -> Columns:
    """Return several rounds one after the other; keys and times of later rounds are moved up."""
    moved: list[Columns] = []
    key, at_s = 0, 0.0
    for part in parts:
        columns = {item.name: getattr(part, item.name) for item in fields(part)}
        moved.append(Columns(**(columns | {"key": part.key + key, "at_s": part.at_s + at_s})))
        key, at_s = key + 2**40, at_s + (float(part.at_s[-1]) if len(part) else 0.0)
    names = [item.name for item in fields(Columns)]
    return Columns(**{name: np.concatenate([getattr(part, name) for part in moved]) for name in names})


def measured(run: LoadRun, arm: int) -> list[Stream]:
    """Return the requests that count: due after the warm-up, and not cut off when the load was stopped."""
    return [stream for stream in run.arms[arm] if stream.session >= 0 and stream.outcome is not Outcome.CANCELLED]


def gaps_ms(run: LoadRun, arm: int) -> Floats:
    """Return all times between neighbouring token events of the arm's whole answers, pooled."""
    parts = [np.diff(np.frombuffer(stream.times)) for stream in measured(run, arm) if stream.ok]
    return np.concatenate(parts) * 1e3 if parts else np.empty(0)


def good_rows(columns: Columns, slo: Slo) -> Bools:
    """Return which requests count as goodput: whole, and within every latency of the SLO; [N]."""
    good = columns.ok.copy()
    limits = ((slo.ttft_p95_ms, columns.ttft_ms), (slo.itl_p95_ms, columns.itl_ms), (slo.e2e_p95_ms, columns.e2e_ms))
    for limit, values in limits:
        if limit is not None:
            good &= ~(values > limit)
    return good


def _row(stream: Stream, began: float) -> tuple[float, ...]:
    waited = stream.end - stream.at if stream.outcome is Outcome.TIMEOUT else None
    ttft = stream.ttft_s if stream.times else waited
    e2e = stream.end - stream.at if stream.ok else waited
    itl = None
    if len(stream.times) > 1:
        itl = (stream.times[-1] - stream.times[0]) / (len(stream.times) - 1)
    key = stream.session * 4096 + stream.turn
    return key, stream.at - began, _ms(ttft), _ms(itl), _ms(e2e), float(stream.tokens), float(stream.ok)


def _ms(seconds: float | None) -> float:
    return float("nan") if seconds is None else seconds * 1e3
