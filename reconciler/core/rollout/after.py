"""Say what a rollout is after a step was done, or has failed: the counterpart of `next_steps`. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from environments.errors import SluiceError
from reconciler.core.model.rollout import (
    BACKWARD,
    FORWARD,
    GateResult,
    Intent,
    Phase,
    RegionRollout,
    Rollout,
    Trouble,
    Underway,
)
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import (
    Effect,
    Enter,
    Finish,
    NoteSilence,
    Pause,
    Publish,
    RegionEffect,
    Remove,
    RunGate,
    ScaleSlot,
    SetAlias,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    Transition,
    Wait,
    WarmSlot,
    effect_key,
)

EFFORTS_MAX = 8
"""How often traffic may be split in one phase and step before it counts as trouble that it does not stay so."""
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 30.0


def holds(step: Transition, decided_on: Rollout, now_is: Rollout) -> bool:
    """Return whether a decision may still take effect: what it was made from is what there is.

    Between decision and effect a person may have aborted, or another region may have failed. What does not hold any
    more is dropped, and decided again from what there is.
    """
    if (decided_on.intent, decided_on.falling_back) != (now_is.intent, now_is.falling_back) or now_is.ended:
        return False
    match step:
        case Enter(region=name) | NoteSilence(region=name) | Pause(region=name):
            before, after_it = decided_on.region(name), now_is.region(name)
            paused = (decided_on.phase is Phase.PAUSED, now_is.phase is Phase.PAUSED)
            same = (before.phase, before.step, before.gates) == (after_it.phase, after_it.step, after_it.gates)
            return same and paused[0] == paused[1]
        case Finish():
            return [r.phase for r in decided_on.regions] == [r.phase for r in now_is.regions]
        case _:
            assert_never(step)


def after(rollout: Rollout, step: Step, now: float, found: GateResult | None = None) -> Rollout:
    """Return the rollout after `step` was done at `now`; `found` is the answer when the step asked a gate.

    An abort stays: no step takes it back.
    """
    match step:
        case SetWeights(region=name) | Publish(region=name):
            return rollout.with_region(_split(rollout.region(name), step, now))
        case RunGate(region=name, gate=gate):
            answer = found or GateResult(gate, Verdict.ERROR, "the gate gave no answer")
            return rollout.with_region(_with_gate(_mended(rollout.region(name), step), answer))
        case (
            StartSlot(region=name)
            | ScaleSlot(region=name)
            | WarmSlot(region=name)
            | StopSlot(region=name)
            | Remove(region=name)
        ):
            return rollout.with_region(_mended(rollout.region(name), step))
        case SetAlias(ref=ref):
            return replace(rollout, aliased=ref == rollout.challenger.model.ref, trouble=None)
        case Enter(region=name):
            return _entered(rollout, step, now)
        case NoteSilence(region=name, what="unready", since=since):
            return rollout.with_region(replace(rollout.region(name), unready_since=since))
        case NoteSilence(region=name, what="displaced", since=since):
            # Silence from before its machine was known to be lost was no silence of its own.
            return rollout.with_region(replace(rollout.region(name), displaced_since=since, unready_since=None))
        case NoteSilence(region=name, what="champion", since=since):
            return rollout.with_region(replace(rollout.region(name), champion_unready_since=since))
        case NoteSilence(region=name, since=since):
            return rollout.with_region(replace(rollout.region(name), unreadable_since=since))
        case Pause():
            return _paused_by(rollout, step)
        case Finish(phase=phase, reason=reason):
            return replace(rollout, phase=phase, reason=reason, intent=_kept(rollout.intent))
        case Wait():
            return rollout
        case _:
            assert_never(step)


def failed(rollout: Rollout, effect: Effect, now: float, *, error: SluiceError) -> Rollout:
    """Return the rollout after an effect has failed at `now`: once more, if it was the same one before."""
    before = rollout.trouble if isinstance(effect, SetAlias) else rollout.region(effect.region).trouble
    key = effect_key(effect)
    tries = before.tries + 1 if before and before.effect == key else 1
    trouble = Trouble(key, tries, error.code, error.problem.what, error.retryable, now + retry_s(tries))
    if isinstance(effect, SetAlias):
        return replace(rollout, trouble=trouble)
    return rollout.with_region(replace(rollout.region(effect.region), trouble=trouble, underway=None))


def underway(rollout: Rollout, effect: RegionEffect, now: float, *, why: str) -> Rollout:
    """Return the rollout while an effect has begun and is not in force; it counts from when it was first said."""
    region, key = rollout.region(effect.region), effect_key(effect)
    since = region.underway.since if region.underway and region.underway.effect == key else now
    return rollout.with_region(replace(region, underway=Underway(key, since, why)))


def retry_s(tries: int) -> float:
    """Return how long to wait before an effect is tried again that has failed `tries` times in a row."""
    return min(RETRY_FIRST_S * 2.0 ** (tries - 1), RETRY_LAST_S)


def _mended(region: RegionRollout, effect: Effect) -> RegionRollout:
    """Return the region without the trouble that this effect was, and with nothing under way."""
    same = region.trouble is not None and region.trouble.effect == effect_key(effect)
    return replace(region, trouble=None if same else region.trouble, underway=None)


def _split(region: RegionRollout, step: SetWeights | Publish, now: float) -> RegionRollout:
    """Return the region after its traffic was split: the step's time begins, and one effort more was made."""
    judged = isinstance(step, SetWeights) and region.phase in (Phase.SHIFTING, Phase.BAKING)
    share = step.challenger_pct if isinstance(step, SetWeights) else region.asked_pct
    efforts = region.efforts + 1 if region.asked_pct in (None, share) else 1
    moved = replace(_mended(region, step), efforts=efforts, asked_pct=share, since=now if judged else region.since)
    if efforts <= EFFORTS_MAX:
        return moved
    what = f"the split was put in force {efforts} times and did not stay"
    tries = efforts - EFFORTS_MAX
    trouble = Trouble(effect_key(step), tries, "ROLL-007", what, retryable=True, retry_at=now + retry_s(tries))
    return replace(moved, trouble=trouble)


def _entered(rollout: Rollout, step: Enter, now: float) -> Rollout:
    before = rollout.region(step.region)
    region = replace(
        before,
        phase=step.phase,
        step=step.step,
        since=now,
        unready_since=None,
        displaced_since=None,
        unreadable_since=None,
        champion_unready_since=None,
        verdict=step.verdict or before.verdict,
        reason=step.reason or before.reason,
        trouble=None,
        efforts=0,
        asked_pct=None,
        underway=None,
    )
    moved = rollout.with_region(region)
    return replace(moved, phase=overall(moved))


def _paused_by(rollout: Rollout, step: Pause) -> Rollout:
    before = rollout.region(step.region)
    region = replace(
        before, verdict=step.verdict or before.verdict, reason=step.reason, trouble=None, efforts=0, underway=None
    )
    paused = replace(rollout.with_region(region), phase=Phase.PAUSED, reason=step.reason)
    return replace(paused, intent=_kept(rollout.intent))


def _kept(intent: Intent) -> Intent:
    """Return what is left of a person's wish once a pause or an end has answered it: only an abort stays."""
    return Intent.ABORT if intent is Intent.ABORT else Intent.NONE


def watched_again(rollout: Rollout, now: float) -> Rollout:
    """Return the rollout as a new owner takes it: time in which nobody watched counts for no step and no bake."""
    regions = tuple(
        replace(r, since=now, unready_since=None, displaced_since=None, efforts=0)
        if r.phase in (Phase.SHIFTING, Phase.BAKING)
        else r
        for r in rollout.regions
    )
    return replace(rollout, regions=tuple(replace(r, underway=None, champion_unready_since=None) for r in regions))


def overall(rollout: Rollout) -> Phase:
    """Return the phase of a rollout that is neither paused nor ended: that of the region that is furthest behind."""
    phases = [r.phase for r in rollout.regions]
    if any(phase in BACKWARD for phase in phases):
        return Phase.ROLLING_BACK
    moving = [p for p in FORWARD if p in phases]
    if moving:
        return moving[0]
    return Phase.BAKING if Phase.PROMOTED in phases else Phase.PENDING


def _with_gate(region: RegionRollout, found: GateResult) -> RegionRollout:
    before = region.gate(found.gate)
    again = before is not None and before.verdict is found.verdict is Verdict.ERROR
    counted = replace(found, attempts=before.attempts + 1 if again and before else 1)
    kept = tuple(g for g in region.gates if g.gate != found.gate)
    return replace(region, gates=(*kept, counted))
