"""Decide what a rollout does next: a pure function of the rollout, what is live, the evidence and the time.

Level-triggered: it is asked again on every tick and after every crash, and it looks only at what is there. A region is
decided by itself, from its own reading: what the others do reaches it through the rollout alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import FORWARD, REPAIR, ROLLBACK, Intent, Phase, RegionRollout, Rollout, Trouble
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.fall_back import fall_back
from reconciler.core.rollout.forward import bake, gate, prepare, shift, trouble_of
from reconciler.core.rollout.steps import (
    EFFECTS,
    Effect,
    Enter,
    Finish,
    NoteSilence,
    Pause,
    RegionStep,
    Remove,
    RolloutStep,
    ScaleSlot,
    SetAlias,
    StartSlot,
    Step,
    StopSlot,
    Wait,
    WarmSlot,
    effect_key,
    step_kind,
)
from reconciler.core.rollout.surge import kept_pct, take_back
from reconciler.core.rollout.view import NO_EVIDENCE, Evidence, View, fail

__all__ = ["NO_EVIDENCE", "Evidence", "next_steps", "region_steps", "rollback_cause", "rollout_steps"]

ATTEMPTS_MAX = 3
PARK_ATTEMPTS_MAX = 10
DRAIN_MAX_S = 1800.0
"""How long a slot's requests in flight and its servers may take to end."""
IN_FORCE_MAX_S = 120.0
"""How long a gateway may take to confirm a weight."""
UNREADABLE_MAX_S = 900.0
"""How long a region that cannot be read is waited for; a person decides after that."""
ROLLBACK_MAX_S = 3600.0
"""How long a rollback is tried in a region before it is given up and said so."""


def next_steps(
    rollout: Rollout,
    observed: Mapping[str, ObservedEndpoint],
    evidence: Mapping[str, Evidence],
    now: float,
) -> tuple[Step, ...]:
    """Return what to do now, in order; `observed` and `evidence` are keyed by region.

    A region that is missing in `observed` could not be read. An ended rollout has no steps.
    """
    ending = rollout_steps(rollout, now)
    if ending or rollout.ended:
        return ending
    steps: list[Step] = []
    for region in rollout.regions:
        known = evidence.get(region.region, NO_EVIDENCE)
        steps += region_steps(rollout, region.region, observed.get(region.region), known, now)
    return tuple(steps)


def rollout_steps(rollout: Rollout, now: float) -> tuple[RolloutStep, ...]:
    """Return the steps that end the whole rollout; none while a region has something to do."""
    if rollout.ended:
        return ()
    phases = {r.phase for r in rollout.regions}
    if phases == {Phase.PROMOTED} and not rollout.falling_back:
        why = _promoted_reason(rollout)
        if rollout.aliased:
            return (Finish(Phase.PROMOTED, why),)
        return _alias(rollout, rollout.challenger.model.ref, Finish(Phase.PROMOTED, why), now)
    if phases <= {Phase.ROLLED_BACK, Phase.FAILED}:
        ended = Phase.FAILED if rollout.mode == REPAIR or Phase.FAILED in phases else Phase.ROLLED_BACK
        finish = Finish(ended, rollback_cause(rollout))
        champion = next((r.champion for r in rollout.regions if r.champion), None)
        if rollout.aliased and champion:
            return _alias(rollout, champion.model.ref, finish, now)
        return (finish,)
    return ()


def region_steps(
    rollout: Rollout, name: str, observed: ObservedEndpoint | None, evidence: Evidence, now: float
) -> tuple[RegionStep, ...]:
    """Return what one region does now, in order; `observed` is None when it could not be read.

    Effects that change traffic come before those that tidy up. A region whose effect keeps failing waits before it is
    tried again; after some attempts the challenger has failed, or a person is asked.
    """
    region = rollout.region(name)
    if rollout.ended or region.phase in (Phase.ROLLED_BACK, Phase.FAILED):
        return ()
    if observed is None:
        return _unreadable(rollout, region, now)
    if region.unreadable_since is not None:
        return (NoteSilence(name, "unreadable", None),)
    view = View(rollout, region, observed, evidence, now)
    steps = _decide(view)
    held = _held_up(view, steps)
    if held:
        return (held,)
    waiting = _underway(view, steps)
    return (steps[0], waiting) if waiting else tuple(steps)


def leaving_steps(rollout: Rollout, name: str, observed: ObservedEndpoint | None, now: float) -> tuple[RegionStep, ...]:
    """Return what a region still does when its owner leaves in good order: its traffic goes to its champion.

    Nothing is decided any more. Whoever takes the rollout up again gives the challenger the weight of its step.
    """
    region = rollout.region(name)
    settled = Wait(name, "left as it is", settled=True)
    if observed is None or region.phase not in (*FORWARD, Phase.ROLLING_BACK) or rollout.ended:
        return (settled,)
    view = View(rollout, region, observed, NO_EVIDENCE, now)
    moving = park(view)
    stuck = _held_up(view, moving)
    return (settled,) if stuck or not moving else (*moving, settled)


def rollback_cause(rollout: Rollout) -> str:
    """Return why the rollout rolls back: the region that failed first speaks for all.

    A region that could not be rolled back speaks first: somebody has to look at it.
    """
    stuck = [r for r in rollout.regions if r.phase is Phase.FAILED and r.reason]
    failed = [r for r in rollout.regions if r.verdict is Verdict.FAIL and r.reason]
    for told in (stuck, failed):
        if told:
            return min(told, key=lambda r: (r.wave, r.region)).reason
    return rollout.reason or next((r.reason for r in rollout.regions if r.reason), "rolled back")


def aliases_of(rollout: Rollout) -> tuple[str, ...]:
    """Return the aliases of what serves: one for whoever has one endpoint of a model, and one that is nobody else's.

    Environments and endpoints may share a registry and even a model; `champion` alone is then whoever's came last.
    """
    return "champion", f"champion-{rollout.environment}-{rollout.endpoint}"


def _promoted_reason(rollout: Rollout) -> str:
    """Return how it came to this: by a person, by a repair, or by evidence, whose last region speaks."""
    if rollout.mode == ROLLBACK:
        return f"{rollout.challenger.id} serves again: {rollout.reason}"
    if rollout.mode == REPAIR:
        return f"{rollout.challenger.id} serves as declared"
    if rollout.intent is Intent.PROMOTE:
        return f"promoted by hand: {rollout.reason}"
    told = [r for r in rollout.regions if r.reason]
    return max(told, key=lambda r: (r.wave, r.region)).reason if told else "every gate passed"


def _alias(rollout: Rollout, ref: str, finish: Finish, now: float) -> tuple[RolloutStep, ...]:
    """Set the alias and finish; an alias that cannot be set is said, and changes nothing about the traffic."""
    trouble, step = rollout.trouble, SetAlias(ref, aliases_of(rollout))
    if trouble is None:
        return (step, finish)
    if trouble.tries >= ATTEMPTS_MAX:
        note = (
            f"{finish.reason}; the alias `{step.aliases[-1]}` could not be set to {ref}: {trouble.code}: {trouble.what}"
        )
        return (replace(finish, reason=note),)
    if now < trouble.retry_at:
        return (Wait("*", f"setting the alias again: {trouble.what}", trouble.retry_at - now),)
    return (step, finish)


def _decide(view: View) -> list[RegionStep]:
    if view.rollout.falling_back:
        return _back(view)
    if view.rollout.phase is Phase.PAUSED:
        return _parked(view)
    if view.rollout.intent is Intent.PAUSE:
        return [Pause(view.name, None, view.rollout.reason or "paused by a person")]
    return _forward(view)


def _forward(view: View) -> list[RegionStep]:
    match view.region.phase:
        case Phase.PENDING:
            return _open_wave(view)
        case Phase.PREPARING:
            return prepare(view)
        case Phase.GATING:
            return trouble_of(view) or gate(view)
        case Phase.SHIFTING:
            return trouble_of(view) or shift(view)
        case Phase.BAKING:
            return trouble_of(view) or bake(view)
        case Phase.PROMOTED:
            return []
        case Phase.PAUSED | Phase.ROLLING_BACK | Phase.ROLLED_BACK | Phase.FAILED:
            return _back(view)
        case _:
            assert_never(view.region.phase)


def _open_wave(view: View) -> list[RegionStep]:
    waiting = _waits_for_wave(view.rollout, view.region)
    return [waiting or Enter(view.name, Phase.PREPARING)]


def _waits_for_wave(rollout: Rollout, region: RegionRollout) -> Wait | None:
    holding = [r.region for r in rollout.regions if r.wave < region.wave and r.phase is not Phase.PROMOTED]
    if not holding:
        return None
    return Wait(region.region, f"wave {region.wave + 1} waits for {', '.join(holding)}", settled=True)


def _back(view: View) -> list[RegionStep]:
    match view.region.phase:
        case Phase.ROLLED_BACK | Phase.FAILED:
            return []
        case Phase.PENDING:
            return [Enter(view.name, Phase.ROLLED_BACK, reason="never started")]
        case Phase.ROLLING_BACK:
            return fall_back(view)
        case _:
            return [Enter(view.name, Phase.ROLLING_BACK, reason=rollback_cause(view.rollout))]


def _parked(view: View) -> list[RegionStep]:
    """Take a paused region's traffic back to its champion: nobody may be there to watch a challenger.

    It still rolls back when the challenger turns out to be bad. Where no champion is, nothing can be taken back.
    """
    region = view.region
    if region.phase not in FORWARD:
        return []
    if region.phase in (Phase.SHIFTING, Phase.BAKING) and view.rollout.intent is not Intent.PROMOTE:
        if view.evidence.canary is Verdict.FAIL:
            return [fail(view, view.evidence.canary_sentence)]
        bad = [step for step in trouble_of(view) if isinstance(step, Enter)]
        if bad:
            return list(bad)
    return [*park(view), _rest(view)][:1]


def _rest(view: View) -> Wait | NoteSilence:
    """Return what a paused region whose traffic is where it can be waits for: a person, or its champion's servers.

    Those are waited for as long as servers may take to start; a person was asked already, and is told more then.
    """
    kept = kept_pct(view) if _goes_back(view) else 0.0
    words = f"paused: {view.rollout.reason}"
    if not kept:
        return Wait(view.name, words, settled=True)
    since, limit = view.region.champion_unready_since, view.rollout.settings.start_timeout_s
    if since is None:
        return NoteSilence(view.name, "champion", view.now)
    left = since + limit - view.now
    if left > 0:
        return Wait(
            view.name, f"{words}; the challenger keeps {kept:g} % until the champion has its servers back", left
        )
    told = f"{words}; the champion has not had its servers back for {limit:g} s, so the challenger keeps {kept:g} %"
    return Wait(view.name, told, settled=True)


def park(view: View) -> list[RegionStep]:
    """Return the steps that give a region's traffic back to its champion and leave the challenger as it is."""
    return take_back(view) if view.champion is not None and view.champion.serves and _goes_back(view) else []


def _goes_back(view: View) -> bool:
    """Return whether the champion's slot holds the champion, as far as anybody knows; else a person has to look."""
    champion, known = view.champion, view.region.champion
    return champion is None or known is None or champion.release_id == known.id


def _unreadable(rollout: Rollout, region: RegionRollout, now: float) -> tuple[RegionStep, ...]:
    """Wait for a region that cannot be read, but not for ever: then a person is asked, or the rollback is given up."""
    name = region.region
    if region.phase is Phase.PENDING:
        if rollout.falling_back:
            return (Enter(name, Phase.ROLLED_BACK, reason="never started"),)
        waiting = _waits_for_wave(rollout, region)
        if waiting:
            return (waiting,)
    if region.phase is Phase.PROMOTED and not rollout.falling_back:
        return ()
    if region.unreadable_since is None:
        return (NoteSilence(name, "unreadable", now),)
    silent_s = now - region.unreadable_since
    if silent_s < UNREADABLE_MAX_S:
        return (Wait(name, "the region cannot be read; holding", UNREADABLE_MAX_S - silent_s),)
    why = f"the region could not be read for {silent_s:.0f} s"
    if rollout.falling_back:
        return (Enter(name, Phase.FAILED, reason=f"{why}; what it serves is unknown"),)
    if rollout.phase is Phase.PAUSED:
        return (Wait(name, f"paused; {why}", settled=True),)
    return (Pause(name, Verdict.ERROR, why),)


def _held_up(view: View, steps: list[RegionStep]) -> RegionStep | None:
    """Return what stands in place of an effect that has failed before: a verdict on it, or a wait; None to try it."""
    step, trouble = next(iter(steps), None), _overdue(view, steps) or view.region.trouble
    if not isinstance(step, EFFECTS) or trouble is None or trouble.effect != effect_key(step):
        return None
    told = f"{trouble.code}: {trouble.what}"
    if view.rollout.falling_back:
        if view.now - view.region.since > ROLLBACK_MAX_S:
            return Enter(view.name, Phase.FAILED, reason=f"could not be rolled back: {told}")
    elif view.rollout.phase is Phase.PAUSED:
        if trouble.tries >= PARK_ATTEMPTS_MAX:
            return Wait(view.name, f"paused; its traffic could not be taken back: {told}", settled=True)
    else:
        verdict = _blame(step, trouble)
        if verdict is Verdict.FAIL:
            return fail(view, told)
        if verdict is not None:
            return Pause(view.name, verdict, told)
    if view.now < trouble.retry_at:
        return Wait(view.name, f"trying again: {told}", trouble.retry_at - view.now)
    return None


def _underway(view: View, steps: list[RegionStep]) -> Wait | None:
    """Return what the first effect waits for, if it has begun and is not in force yet, and for how long at most."""
    going, step = view.region.underway, next(iter(steps), None)
    if going is None or not isinstance(step, EFFECTS) or going.effect != effect_key(step):
        return None
    return Wait(view.name, f"{step_kind(step)}: {going.why}", _longest_s(view, step) - (view.now - going.since))


def _overdue(view: View, steps: list[RegionStep]) -> Trouble | None:
    """Return the trouble that an effect is which has begun and does not come into force."""
    waiting, going = _underway(view, steps), view.region.underway
    if waiting is None or going is None or waiting.left_s is None or waiting.left_s > 0:
        return None
    what = f"not in force {view.now - going.since:.0f} s after it began: {going.why}"
    return Trouble(going.effect, PARK_ATTEMPTS_MAX, "ROLL-010", what, retryable=True, retry_at=view.now)


def _longest_s(view: View, step: Effect) -> float:
    """Return how long an effect may be under way: servers as long as they may take to start, a weight less."""
    if isinstance(step, StartSlot | ScaleSlot):
        return view.rollout.settings.start_timeout_s
    return DRAIN_MAX_S if isinstance(step, StopSlot | Remove) else IN_FORCE_MAX_S


def _blame(step: Effect, trouble: Trouble) -> Verdict | None:
    """Return FAIL when the challenger is at fault, ERROR when trying has not helped something else, else None."""
    challenger = isinstance(step, WarmSlot) or (isinstance(step, StartSlot) and step.role == "challenger")
    if challenger and (not trouble.retryable or trouble.tries >= ATTEMPTS_MAX):
        return Verdict.FAIL
    return Verdict.ERROR if trouble.tries >= ATTEMPTS_MAX else None
