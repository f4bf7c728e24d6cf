"""Requests that must be open since long ago, by what a gateway counts that does not know when each began. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from reconciler.core.model.counts import Counts
from reconciler.core.slo_check import Unanswered
from reconciler.ports import SlotCounts

HELD_SHARE = 0.1  # of a step's requests: fewer that hang are found by the judge, or by the bake
_SIGMAS = 3.0  # of a Poisson count: how many are open by chance


@dataclass(frozen=True)
class _Look:
    at_s: float
    in_flight: int
    begun: int


@dataclass
class InFlight:
    """What a gateway said of one slot, reading by reading, since it was told to begin.

    `late` is how many requests were surely open for too long when that was asked last.
    """

    epoch: str = ""
    looks: list[_Look] = field(default_factory=list)
    late: int = 0

    def begin(self) -> None:
        """Forget what was said."""
        self.looks = []

    def take(self, counts: SlotCounts | None, now: float) -> None:
        """Take in a reading; one after a restart of the counters begins anew, and one that does not tell is none."""
        if counts is None or counts.in_flight is None or counts.begun is None:
            return
        if counts.epoch != self.epoch:
            self.epoch, self.looks, self.late = counts.epoch, [], 0
        self.looks.append(_Look(now - counts.age_s, counts.in_flight, counts.begun))

    def unanswered(self, age_s: float) -> Unanswered | None:
        """Return how many requests were surely open that had begun longer than `age_s` ago; None while nobody knows.

        What was in flight at the newest reading, however old that is, had begun before or since `age_s` before it, and
        how many began since is counted: the rest is older.
        """
        newest = self.looks[-1] if self.looks else None
        then = newest and next((look for look in reversed(self.looks) if look.at_s <= newest.at_s - age_s), None)
        if newest is None or then is None:
            return None
        older = newest.in_flight - (newest.begun - then.begun)
        return Unanswered(age_s, then.begun - self.looks[0].begun + self.looks[0].in_flight, max(0, older))

    def with_late(self, counted: Counts, age_s: float | None) -> Counts:
        """Return the counts of a tick in which a request has failed once it is surely open longer than `age_s`.

        It is not counted again when it ends. Who knows of no age, or has not watched that long, changes nothing.
        """
        found = None if age_s is None else self.unanswered(age_s)
        if found is None:
            return counted
        more, self.late = found.open - self.late, found.open
        if more >= 0:
            return replace(counted, requests=counted.requests + more, errors=counted.errors + more)
        errors = max(0, counted.errors + more)
        requests = max(errors + counted.rejected, counted.requests + more)
        return replace(counted, requests=requests, errors=errors)


@dataclass(frozen=True)
class OpenRequests:
    """How many of the challenger's requests are in flight, of those `begun` in a step, and `usual`: as the champion's.

    A part that hangs is surely open for too long only after a while; those that end are well until then, and would
    carry the weight up.
    """

    in_flight: int
    usual: float
    begun: int

    @property
    def hold(self) -> bool:
        """Say whether so many more than usual are open that a tenth of the challenger's may never end.

        Answers that merely take longer hold the weight for ten times as long as they take longer.
        """
        more = self.in_flight - self.usual
        return more > HELD_SHARE * self.begun and more > _SIGMAS * math.sqrt(1.0 + self.usual)


def open_requests(champion: InFlight, challenger: InFlight) -> OpenRequests | None:
    """Compare what is in flight on both arms, by how many requests began since both were read first; None unread."""
    if not champion.looks or not challenger.looks:
        return None
    served, tried = (arm.looks[-1].begun - arm.looks[0].begun for arm in (champion, challenger))
    if served <= 0:
        return None
    begun = tried + challenger.looks[0].in_flight
    return OpenRequests(challenger.looks[-1].in_flight, champion.looks[-1].in_flight * tried / served, begun)
