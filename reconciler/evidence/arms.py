"""The counts of champion and challenger in one region: from one reading to the next, by step and by tick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reconciler.core import judge as judging
from reconciler.core.model.counts import Counts, counts_of_both
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.core.slo_check import Unanswered
from reconciler.evidence.counters import carried, difference
from reconciler.evidence.in_flight import InFlight, OpenRequests, open_requests
from reconciler.evidence.start_windows import (
    REMEMBERED_S,
    Followed,
    Watched,
    begun_since,
    follow,
    moved,
    recalled,
    unanswered_since,
    under_present_weight,
)
from reconciler.ports import Cohort, SlotCounts

ANSWERS = 0.99
_ANSWERS_MIN = 100
Step = tuple[str, int, float]


class Arms:
    """What has been read so far. `challenger` are its counts, and `looks` the ticks that told of it, in this step."""

    def __init__(self) -> None:
        self.began_s: float | None = None
        self.latest: dict[str, SlotCounts] = {}
        self.challenger = Counts()
        self.looks = 0
        self.by_start = False
        self._champion = Counts()
        self._weight_pct = 0.0
        self._step: Step | None = None
        self._step_read_s = 0.0
        self._before: dict[str, SlotCounts] = {}
        self._measured: dict[str, SlotCounts] = {}
        self._followed = Followed()
        self._in_flight = {"champion": InFlight(), "challenger": InFlight()}

    def stale(self, part: RegionRollout) -> bool:
        """Say whether nothing has been read yet of the present step."""
        return self._step != _step_of(part)

    def since_s(self, now: float) -> float:
        """Return from when on the gateway's windows have to be read."""
        return self._followed.since_s(now)

    def recall(self, began_s: float, tick: judging.Tick) -> None:
        """Take up the windows of a tick that an earlier process recorded."""
        self.began_s = began_s
        self._followed = recalled(tick.cohorts or (), began_s, self._followed)

    def read(
        self,
        rollout: Rollout,
        part: RegionRollout,
        counters: Mapping[str, SlotCounts],
        cohorts: Mapping[str, Sequence[Cohort]] | None,
        *,
        weight_pct: float,
        answer_age_s: float | None,
        now: float,
    ) -> judging.Tick | None:
        """Take in a reading and return the tick since the one before; None when there is nothing to compare with.

        Weights that have just moved begin a step. What was counted as it ended before that belongs to no step, and the
        windows of requests by their start belong to their own. Where requests are counted as they end, one that is open
        longer than `answer_age_s` has failed.
        """
        self.began_s = round(now, 3) if self.began_s is None else self.began_s
        self._weight_pct = weight_pct
        fresh = self._begin(part, now) or not self._before
        champion, challenger = (self._since(counters, slot) for slot in (part.champion_slot, part.slot))
        latencies = self._latencies(part, counters, fresh=fresh)
        self._before |= {slot: carried(self._before.get(slot), found) for slot, found in counters.items()}
        self.latest = dict(counters)
        for role, slot in (("champion", part.champion_slot), ("challenger", part.slot)):
            self._in_flight[role].take(counters.get(slot or ""), now)
        windows = self._windows(rollout, part, cohorts, weight_pct)
        if fresh and windows is None:
            return None
        if not fresh:
            self._champion = counts_of_both(self._champion, champion)
            self.challenger = counts_of_both(self.challenger, challenger)
        self.looks += self._tells(challenger, part)
        if windows is None:
            champion = self._in_flight["champion"].with_late(champion, answer_age_s)
            challenger = self._in_flight["challenger"].with_late(challenger, answer_age_s)
        per_answer = all(measured.tpot_s for measured in latencies)
        one, other = (
            _arm(outcomes, measured, ends=windows is None, per_answer=per_answer)
            for outcomes, measured in zip((champion, challenger), latencies, strict=True)
        )
        since_s = round(part.since - self.began_s, 3)
        return judging.Tick(round(now - self.began_s, 3), weight_pct, one, other, since_s, windows)

    def step_requests(self) -> tuple[int, int]:
        """Return the requests of both arms, and of the challenger, that began in this step and have ended."""
        if self.by_start and self._step is not None:
            return under_present_weight(self._followed, self._weight_pct, self._step[2])[:2]
        return self._champion.requests + self.challenger.requests, self.challenger.requests

    def watched_s(self, part: RegionRollout, now: float) -> float:
        """Return how much of the step the counts cover: all that a gateway remembers, or since the first read."""
        began = max(part.since, now - REMEMBERED_S) if self.by_start else self._step_read_s
        return max(0.0, now - began)

    def begun_in_bake(self, since_s: float) -> Counts:
        """Return the challenger's counts, with outcomes of the requests that began since then: open ones are fine."""
        fates = begun_since(self._followed, since_s)
        rest = {name: getattr(self.challenger, name) for name in ("ttft_s", "itl_s", "tpot_s", "answer_s", "tokens")}
        return Counts(fates.begun, fates.errors, fates.rejected, **rest)

    def unanswered(self, since_s: float, now: float, age_s: float) -> Unanswered | None:
        """Return how many of the challenger's requests that began since then, and so long ago, are still open.

        A gateway that does not know when requests began tells the least that it may be, since the step was first read;
        None where it does not count what is in flight.
        """
        if self.by_start:
            return unanswered_since(self._followed, since_s, now, age_s)
        return self._in_flight["challenger"].unanswered(age_s)

    @property
    def late(self) -> int:
        """Return how many of the challenger's requests are surely open for too long, and count as failed."""
        return 0 if self.by_start else self._in_flight["challenger"].late

    @property
    def open_requests(self) -> OpenRequests | None:
        """Return how many of the challenger's requests are in flight and how many would be usual, where that is all."""
        return None if self.by_start else open_requests(self._in_flight["champion"], self._in_flight["challenger"])

    def answer_s(self, slot: str | None) -> float | None:
        """Return within which time 99 % of a server's answers were whole, None when it does not tell."""
        counted = self._before.get(slot or "")
        histogram = counted.answer_s if counted else {}
        total = histogram.get("+Inf", 0.0)
        within = [float(le) for le, count in histogram.items() if count >= ANSWERS * total]
        known = total >= _ANSWERS_MIN and math.isfinite(min(within, default=math.inf))
        return min(within) if known else None

    def _begin(self, part: RegionRollout, now: float) -> bool:
        """Start counting anew when the step has changed, and say whether it has."""
        step = _step_of(part)
        if step == self._step:
            return False
        self._step, self._step_read_s, self.looks = step, now, 0
        self._champion, self.challenger = Counts(), Counts()
        for watched in self._in_flight.values():
            watched.begin()
        return True

    def _since(self, counters: Mapping[str, SlotCounts], slot: str | None) -> Counts:
        found = counters.get(slot or "")
        return difference(self._before.get(slot or ""), found) if found else Counts()

    def _latencies(
        self, part: RegionRollout, counters: Mapping[str, SlotCounts], *, fresh: bool
    ) -> tuple[Counts, Counts]:
        """Return both arms' latencies over the same time: what one server did not tell waits for both."""
        slots = [slot for slot in (part.champion_slot, part.slot) if slot]
        if not all(slot in counters and counters[slot].server_epoch for slot in slots):
            if fresh:
                self._measured = {}
            return Counts(), Counts()
        found = {slot: difference(self._measured.get(slot), counters[slot]) for slot in slots}
        self._measured = {slot: counters[slot] for slot in slots}
        if fresh:
            return Counts(), Counts()
        return found.get(part.champion_slot or "", Counts()), found[part.slot]

    def _windows(
        self,
        rollout: Rollout,
        part: RegionRollout,
        cohorts: Mapping[str, Sequence[Cohort]] | None,
        weight_pct: float,
    ) -> tuple[judging.StartWindow, ...] | None:
        self.by_start = cohorts is not None
        if cohorts is None or self.began_s is None:
            return None
        champion = part.champion.id if part.champion else None
        watched = Watched(part.champion_slot, part.slot, champion, rollout.challenger.id, rollout.started_at)
        self._followed = follow(self._followed, cohorts, watched=watched, weight_pct=weight_pct, since_s=part.since)
        told, self._followed = moved(self._followed, self.began_s)
        return told

    def _tells(self, challenger: Counts, part: RegionRollout) -> bool:
        """Say whether this tick told anything of the challenger under the present weight."""
        if self.by_start:
            return under_present_weight(self._followed, self._weight_pct, part.since)[2] > 0
        return challenger.requests > 0


def _step_of(part: RegionRollout) -> Step:
    return str(part.phase), part.step, part.since


def _arm(outcomes: Counts, measured: Counts, *, ends: bool, per_answer: bool) -> judging.ArmCounts:
    """Return an arm's part of a tick; how long answers take is told where requests are counted as they end."""
    answers = measured.tokens.answers if measured.tokens else None
    return judging.ArmCounts(
        outcomes.requests,
        outcomes.errors,
        measured.ttft_s,
        measured.tpot_s if per_answer else measured.itl_s,
        outcomes.rejected,
        int(measured.tpot_s["+Inf"]) if per_answer else answers,
        measured.answer_s if ends else {},
    )
