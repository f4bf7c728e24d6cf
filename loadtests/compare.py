"""Challenger and champion under the same load at the same time, in rounds, until the verdict is clear or time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from loadtests.columns import NOTHING_LEFT_OUT, Columns, LeftOut, columns_of, joined, left_out_of
from loadtests.engine import Hooks, LoadRun, run_load
from loadtests.figures import Comparison, comparison_of
from loadtests.profile import Profile
from loadtests.result import LoadResult, result_of
from loadtests.stream import Stream
from loadtests.target import Target

_TOLD_EVERY_S = 0.5


@dataclass(frozen=True)
class Terms:
    """How sure a FAIL must be, and how long the rounds may take; one round is always run."""

    alpha: float
    max_duration_s: float


@dataclass(frozen=True)
class Sent:
    """Where a comparison stands: which round runs, requests an arm that have ended in all of them, seconds so far."""

    round: int
    requests: int
    elapsed_s: float


@dataclass
class Rounds:
    """What was measured so far: columns of each round, champion first where there is one. Grows while rounds run."""

    results: list[LoadResult] = field(default_factory=list)
    arms: list[tuple[Columns, ...]] = field(default_factory=list)
    left_out: LeftOut = NOTHING_LEFT_OUT
    looks: int = 0

    def add(self, run: LoadRun) -> None:
        """Take the requests of one more round."""
        self.results.append(result_of(run))
        self.arms.append(tuple(columns_of(run, index) for index in range(len(run.arms))))
        spoilt, before = left_out_of(run), self.left_out
        self.left_out = LeftOut(
            before.requests + spoilt.requests,
            before.seconds + spoilt.seconds,
            max(before.worst_ms, spoilt.worst_ms),
        )
        self.looks += 1

    def figures(self, profile: Profile, alpha: float) -> Comparison:
        """Return what they show together."""
        *champion, challenger = (joined(parts) for parts in zip(*self.arms, strict=True))
        return comparison_of(
            profile,
            tuple(self.results),
            champion[0] if champion else None,
            challenger,
            alpha=alpha,
            looks=self.looks,
            left_out=self.left_out,
        )


async def compare(
    profile: Profile,
    targets: Sequence[Target],
    *,
    terms: Terms,
    decided: Callable[[Comparison], bool],
    folder: Path = Path(),
    hooks: Hooks | None = None,
    told: Callable[[Sent], None] = lambda sent: None,
    rounds: Rounds | None = None,
) -> Comparison:
    """Send all targets the same requests at the same moments; stop when `decided` says so or no round fits any more.

    `targets` are champion and challenger, or the challenger alone. Each round is one run of the profile with other
    arrivals and prompts; one that was stopped is the last. `rounds` brings what was measured before, and keeps it.

    Raises:
        SluiceError: as `run_load`.
    """
    known = Rounds() if rounds is None else rounds
    began, round_s = perf_counter(), profile.warmup_s + profile.duration_s
    while True:
        counted = _Counter(known, len(targets), began, told)
        seeded = profile.model_copy(update={"seed": profile.seed + known.looks})
        run = await run_load(seeded, targets, folder=folder, hooks=counted.beside(hooks or Hooks()))
        # In a thread: what thousands of requests show takes its time, and a lease has to be renewed meanwhile.
        await asyncio.to_thread(known.add, run)
        figures = await asyncio.to_thread(known.figures, profile, terms.alpha)
        if run.outcome != "completed" or decided(figures):
            return figures
        if perf_counter() - began + round_s > terms.max_duration_s:
            return replace(figures, out_of_time=True)


class _Counter:
    """Counts requests as they end and tells about it, twice a second at most."""

    def __init__(self, known: Rounds, arms: int, began: float, told: Callable[[Sent], None]) -> None:
        self._before = sum(len(columns[-1]) for columns in known.arms)
        self._round, self._arms, self._began, self._told = known.looks + 1, arms, began, told
        self._ended = 0
        self._last = 0.0

    def beside(self, hooks: Hooks) -> Hooks:
        """Return the hooks with this one beside them."""

        def on_done(stream: Stream) -> None:
            if hooks.on_done is not None:
                hooks.on_done(stream)
            self._ended += stream.session >= 0
            self._tell()

        self._tell()
        return replace(hooks, on_done=on_done)

    def _tell(self) -> None:
        now = perf_counter()
        if now - self._last >= _TOLD_EVERY_S:
            self._last = now
            self._told(Sent(self._round, self._before + self._ended // self._arms, now - self._began))
