"""Requests that were in flight long ago and have not ended: from a gateway that does not know when each began. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.slo_check import Unanswered
from reconciler.ports import SlotCounts


@dataclass(frozen=True)
class _Look:
    at_s: float
    in_flight: int
    ended: int


@dataclass
class InFlight:
    """What a gateway said of one slot, reading by reading, since it was told to begin."""

    epoch: str = ""
    looks: list[_Look] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what was said."""
        self.looks = []

    def take(self, counts: SlotCounts | None, now: float) -> None:
        """Take in a reading; one after a restart of the counters begins anew, and one that does not tell is none."""
        if counts is None or counts.in_flight is None:
            return
        if counts.epoch != self.epoch:
            self.epoch, self.looks = counts.epoch, []
        self.looks.append(_Look(now - counts.age_s, counts.in_flight, counts.requests))

    def unanswered(self, now: float, age_s: float) -> Unanswered | None:
        """Return how many requests are surely open that began longer than `age_s` ago; None while nobody knows.

        Whatever has ended since then may be one of those that were in flight then, so no more than the rest of them
        is told: of a slot with traffic and sound answers, none.
        """
        then = next((look for look in reversed(self.looks) if look.at_s <= now - age_s), None)
        if then is None:
            return None
        ended_since = self.looks[-1].ended - then.ended
        begun = then.ended - self.looks[0].ended + then.in_flight
        return Unanswered(age_s, begun, max(0, then.in_flight - ended_since))
