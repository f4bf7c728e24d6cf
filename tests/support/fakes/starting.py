"""A fake region whose gateway knows when requests began: answers take their time, and some never come.

What a release's answers are like is scripted by its id; failures and refusals end at once, as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from environments.names import SLOTS, Address
from reconciler.ports import Cohort, InProgress, SlotCounts
from tests.support.fakes.platform import FakePlatform

WINDOW_S = 10.0
Window = tuple[float, str]


@dataclass(frozen=True)
class Answers:
    """How a release answers: how long each answer takes, and which share of requests never gets one."""

    lasting_s: float = 0.0
    hanging: float = 0.0


@dataclass(frozen=True)
class _Waiting:
    """Answers under way: when they end, where they are counted, and what is counted then."""

    ends_at: float
    endpoint: str
    slot: str
    window: Window
    counts: SlotCounts


class StartingPlatform(FakePlatform):
    """FakePlatform and CountsByStart. `answers` by release id; who is not there answers at once."""

    def __init__(self, environment: str, region: str, *, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__(environment, region, now=now)
        self.answers: dict[str, Answers] = {}
        self.splits = 0
        self._waiting: list[_Waiting] = []
        self._cohorts: dict[tuple[str, str, Window], Cohort] = {}

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> InProgress | None:
        """Set the weights; requests that begin from now on belong to another split."""
        before = dict(self.endpoints[endpoint.endpoint].weights) if endpoint.endpoint in self.endpoints else {}
        await super().weigh(endpoint, weights_pct, fence=fence)
        self.splits += before != self.endpoints[endpoint.endpoint].weights
        return None

    async def cohorts(self, endpoint: Address, *, since_s: float) -> Mapping[str, tuple[Cohort, ...]]:
        """Return the windows that opened at or after `since_s`, by slot, oldest first."""
        found = [
            (slot, cohort)
            for (name, slot, window), cohort in sorted(self._cohorts.items(), key=lambda item: item[0][2])
            if name == endpoint.endpoint and window[0] >= since_s
        ]
        return {slot: tuple(cohort for of, cohort in found if of == slot) for slot in SLOTS}

    def restart_gateway(self) -> None:
        """Let the gateway die: what it knew of requests is gone, and so are those under way."""
        super().restart_gateway()
        self._waiting, self._cohorts = [], {}

    def tick(self, endpoint: str | None = None) -> None:
        """Let a second of traffic pass: answers that are due end, and requests begin."""
        due = [waiting for waiting in self._waiting if waiting.ends_at <= self._now()]
        self._waiting = [waiting for waiting in self._waiting if waiting not in due]
        for waiting in due:
            self._finish(waiting.endpoint, waiting.slot, waiting.window, waiting.counts)
        super().tick(endpoint)

    def _arrive(self, name: str, slot: str, counts: SlotCounts) -> None:
        answers = self.answers.get(self.endpoints[name].slots[slot].release.id, Answers())
        window = (self._now() // WINDOW_S * WINDOW_S, str(self.splits))
        self._move(name, slot, window, begun=counts.requests)
        unserved = counts.errors + (counts.rejected or 0)
        self._finish(name, slot, window, SlotCounts(unserved, counts.errors, counts.rejected))
        served = counts.requests - unserved
        answered = served - round(served * answers.hanging)
        told = _part(counts, answered, served)
        if answers.lasting_s > 0:
            self._waiting.append(_Waiting(self._now() + answers.lasting_s, name, slot, window, told))
        else:
            self._finish(name, slot, window, told)

    def _finish(self, name: str, slot: str, window: Window, counts: SlotCounts) -> None:
        if name in self.endpoints:
            self._end(name, slot, counts)
        self._move(name, slot, window, ended=counts.requests, errors=counts.errors, rejected=counts.rejected or 0)

    def _move(self, name: str, slot: str, window: Window, **counts: int) -> None:
        key = (name, slot, window)
        before = self._cohorts.get(key) or Cohort(window[0], WINDOW_S, window[1], 0, 0)
        self._cohorts[key] = replace(before, **{field: getattr(before, field) + n for field, n in counts.items()})


def _part(counts: SlotCounts, answered: int, served: int) -> SlotCounts:
    """Return what so many of the served requests count."""
    part = answered / served if served else 0.0
    ttft, itl, tpot, answer = (
        {le: count * part for le, count in histogram.items()}
        for histogram in (counts.ttft_s, counts.itl_s, counts.tpot_s, counts.answer_s)
    )
    tokens = counts.tokens if part == 1 else None
    return SlotCounts(answered, 0, ttft_s=ttft, itl_s=itl, tpot_s=tpot, answer_s=answer, tokens=tokens)
