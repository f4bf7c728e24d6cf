"""How old counts are, and what evidence is worth whose counts are old. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.model.verdict import Verdict, fold
from reconciler.core.rollout.next_steps import NO_EVIDENCE, Evidence
from reconciler.ports import OLD_S, SlotCounts


def age_s(counters: Mapping[str, SlotCounts]) -> float:
    """Return how old the oldest of these counts are, in seconds."""
    return max((counts.age_s for counts in counters.values()), default=0.0)


def too_old(counters: Mapping[str, SlotCounts]) -> str | None:
    """Return in words whose counts are too old to say anything, and where to look; None when all of them are fresh."""
    for slot, counts in sorted(counters.items(), key=lambda each: each[1].age_s, reverse=True):
        if counts.age_s > OLD_S:
            look = f"; look at {counts.look_at}" if counts.look_at else ""
            return f"the counts of slot {slot} are {counts.age_s:.0f} s old, older than {OLD_S:g} s{look}"
    return None


def without_counts(told: Evidence, why: str) -> Evidence:
    """Return what is left of evidence without counts of now: proof of harm stands, nothing else passes.

    The requests of the step are not told either: a weight must not rise on those of another one.
    """
    return replace(
        NO_EVIDENCE,
        canary=fold([told.canary, Verdict.INCONCLUSIVE]),
        canary_sentence=f"{why}; {told.canary_sentence}",
        bake=fold([told.bake, Verdict.INCONCLUSIVE]),
        bake_sentence=f"{why}; {told.bake_sentence}",
        leaning=told.leaning,
    )
