"""What a decision about one region looks at: the rollout, what is live, the evidence, the time. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.rollout import Phase, RegionRollout, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import Enter


@dataclass(frozen=True)
class Evidence:
    """What is known of one region at this tick.

    `canary` is the judge's verdict over the whole rollout, folded with the limits; `bake` is the verdict on the
    promises (`slo`) since the bake began. Requests are those since the present step came into force, of both arms
    together and of the challenger alone; `watched_s` is how much of the step they cover. `looks` counts the ticks of
    the present step that the judge has judged; `leaning` says that the evidence against the challenger has reached half
    of its limit, or that so many of its requests are open that some may never end: its weight must not rise.
    """

    canary: Verdict = Verdict.INCONCLUSIVE
    canary_sentence: str = "no requests yet"
    bake: Verdict = Verdict.INCONCLUSIVE
    bake_sentence: str = "no requests yet"
    step_requests: int = 0
    step_challenger_requests: int = 0
    watched_s: float = 0.0
    looks: int = 0
    leaning: bool = False


NO_EVIDENCE = Evidence()


@dataclass(frozen=True)
class View:
    """Everything that a decision about one region looks at."""

    rollout: Rollout
    region: RegionRollout
    observed: ObservedEndpoint
    evidence: Evidence
    now: float

    @property
    def name(self) -> str:
        """Return the region's name."""
        return self.region.region

    @property
    def elapsed_s(self) -> float:
        """Return how long the present phase or step has been in force."""
        return max(0.0, self.now - self.region.since)

    @property
    def challenger(self) -> ObservedSlot:
        """Return the challenger's slot as it is."""
        return self.observed.slots.get(self.region.slot, ObservedSlot())

    @property
    def champion(self) -> ObservedSlot | None:
        """Return the champion's slot as it is; None on a first deployment."""
        slot = self.region.champion_slot
        return None if slot is None else self.observed.slots.get(slot, ObservedSlot())


def fail(view: View, why: str) -> Enter:
    """Return the step that rolls back because the challenger is bad."""
    return Enter(view.name, Phase.ROLLING_BACK, verdict=Verdict.FAIL, reason=why)
