"""Say what a rollout is after a step was done: the counterpart of `next_steps`. Pure; the loop stores the result."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from reconciler.core.rollout import FORWARD, GateResult, Intent, Phase, RegionRollout, Rollout
from reconciler.core.steps import (
    Await,
    Enter,
    Finish,
    Mark,
    Note,
    Pause,
    Publish,
    Remove,
    RunGate,
    StartSlot,
    Step,
    StopSlot,
    WarmSlot,
    Weigh,
)
from reconciler.core.verdict import Verdict


def after(rollout: Rollout, step: Step, now: float, found: GateResult | None = None) -> Rollout:
    """Return the rollout after `step` was done at `now`; `found` is the answer when the step asked a gate."""
    match step:
        case Weigh(region=name):
            region = rollout.region(name)
            in_force = replace(region, since=now) if region.phase in (Phase.SHIFTING, Phase.BAKING) else region
            return rollout.with_region(in_force)
        case RunGate(region=name, gate=gate):
            answer = found or GateResult(gate, Verdict.ERROR, "the gate gave no answer")
            return rollout.with_region(_with_gate(rollout.region(name), answer))
        case Enter(region=name):
            return _entered(rollout, step, now)
        case Note(region=name, unready_since=since):
            return rollout.with_region(replace(rollout.region(name), unready_since=since))
        case Pause(region=name, verdict=verdict, reason=reason):
            region = replace(rollout.region(name), verdict=verdict or rollout.region(name).verdict, reason=reason)
            return replace(rollout.with_region(region), phase=Phase.PAUSED, reason=reason, intent=Intent.NONE)
        case Finish(phase=phase, reason=reason):
            return replace(rollout, phase=phase, reason=reason, intent=Intent.NONE)
        case StartSlot() | WarmSlot() | Publish() | StopSlot() | Remove() | Mark() | Await():
            return rollout
        case _:
            assert_never(step)


def _entered(rollout: Rollout, step: Enter, now: float) -> Rollout:
    region = replace(
        rollout.region(step.region),
        phase=step.phase,
        step=step.step,
        since=now,
        unready_since=None,
        verdict=step.verdict or rollout.region(step.region).verdict,
        reason=step.reason or rollout.region(step.region).reason,
    )
    moved = rollout.with_region(region)
    return replace(moved, phase=_overall(moved))


def watched_again(rollout: Rollout, now: float) -> Rollout:
    """Return the rollout as a new owner takes it: time in which nobody watched counts for no step and no bake."""
    regions = tuple(
        replace(r, since=now, unready_since=None) if r.phase in (Phase.SHIFTING, Phase.BAKING) else r
        for r in rollout.regions
    )
    return replace(rollout, regions=regions)


def _overall(rollout: Rollout) -> Phase:
    phases = [r.phase for r in rollout.regions]
    if Phase.ROLLING_BACK in phases or Phase.ROLLED_BACK in phases:
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


def paused(rollout: Rollout, reason: str) -> Rollout:
    """Return the rollout with a person's wish to pause it."""
    return replace(rollout, intent=Intent.PAUSE, reason=reason)


def aborted(rollout: Rollout, reason: str) -> Rollout:
    """Return the rollout with the wish to roll it back."""
    return replace(rollout, intent=Intent.ABORT, reason=reason)


def promoted_by_hand(rollout: Rollout, reason: str, now: float) -> Rollout:
    """Return the rollout with a person's wish to promote it past gates, judge and bake."""
    return replace(resumed(rollout, now), intent=Intent.PROMOTE, reason=reason)


def resumed(rollout: Rollout, now: float) -> Rollout:
    """Return a paused rollout set going again: its step gets its full time, gates without a PASS are asked again."""
    regions = tuple(
        replace(
            r,
            since=now if r.phase in FORWARD else r.since,
            gates=tuple(g for g in r.gates if g.verdict is Verdict.PASS),
            verdict=None if r.phase in FORWARD else r.verdict,
            reason="" if r.phase in FORWARD else r.reason,
        )
        for r in rollout.regions
    )
    going = replace(rollout, regions=regions, intent=Intent.NONE, reason="")
    return replace(going, phase=_overall(going))
