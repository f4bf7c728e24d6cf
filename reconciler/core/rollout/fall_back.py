"""The way back in one region: the champion gets its traffic again as soon as its server runs. Pure."""

from __future__ import annotations

from reconciler.core.model.observed import ObservedSlot
from reconciler.core.model.rollout import REPAIR, Phase
from reconciler.core.rollout.steps import Enter, Publish, RegionStep, Remove, StartSlot, StopSlot, Wait
from reconciler.core.rollout.surge import kept_pct, steady_need, take_back
from reconciler.core.rollout.view import View

PUBLISH_ATTEMPTS = 5


def fall_back(view: View) -> list[RegionStep]:
    """Return a region to its champion, or to nothing on a first deployment.

    Weights go first; prompts that cannot be published and a challenger that cannot be stopped never keep them.
    """
    region, champion = view.region, view.champion
    if champion is None or region.champion is None or region.champion_slot is None:
        return _withdraw(view)
    if champion.release_id != region.champion.id or not champion.running:
        return [
            StartSlot(view.name, region.champion_slot, region.champion.id, role="champion", replicas=steady_need(view))
        ]
    absent = _absent(view, champion)
    if absent:
        return absent
    moving = take_back(view)
    # What a former try could not do says nothing once everything is as it should be.
    stuck = _unpublished(view) if moving else None
    if moving and not (stuck and isinstance(moving[0], Publish)):
        return moving
    short = _carries_not_all(view)
    if short:
        return [short]
    if view.challenger.release_id == view.rollout.challenger.id and region.slot != region.champion_slot:
        return [StopSlot(view.name, region.slot)]
    problem = stuck or (None if champion.serves else f"the champion does not answer: {champion.problem}")
    if problem:
        return [Enter(view.name, Phase.FAILED, reason=f"the weight is back, but {problem}")]
    return [Enter(view.name, Phase.ROLLED_BACK, verdict=region.verdict, reason=region.reason)]


def _carries_not_all(view: View) -> Wait | Enter | None:
    """Return the wait for the champion's servers while the challenger keeps what they cannot carry.

    Where they do not come back a person decides: to overload those that are left may end all of them.
    """
    kept = kept_pct(view)
    if kept == 0:
        return None
    limit = view.rollout.settings.start_timeout_s
    if view.elapsed_s < limit:
        words = f"the challenger keeps {kept:g} % until the champion has its servers back"
        return Wait(view.name, words, limit - view.elapsed_s)
    ready = view.champion.ready_count if view.champion else 0
    why = f"the champion has {ready} of {steady_need(view)} servers after {limit:g} s"
    return Enter(view.name, Phase.FAILED, reason=f"{why}; {view.rollout.challenger.id} keeps {kept:g} %")


def _absent(view: View, champion: ObservedSlot) -> list[RegionStep]:
    """Return what to do while the champion's server has not answered yet; nothing once it can be given traffic."""
    if champion.serves:
        return []
    left = view.rollout.settings.start_timeout_s - view.elapsed_s
    problem = champion.problem or "it is starting"
    if left > 0:
        return [Wait(view.name, f"the champion does not answer yet: {problem}", left)]
    if view.challenger.ready and view.challenger.weight_pct > 0:
        held = f"{view.rollout.challenger.id} keeps {view.challenger.weight_pct:g} %"
        why = f"the champion did not come back in {view.rollout.settings.start_timeout_s:g} s ({problem}); {held}"
        return [Enter(view.name, Phase.FAILED, reason=why)]
    return []


def _unpublished(view: View) -> str | None:
    """Return why the champion's prompts cannot be published, once that was tried often enough."""
    trouble = view.region.trouble
    if trouble is None or trouble.effect != "publish" or trouble.tries < PUBLISH_ATTEMPTS:
        return None
    return f"its prompts could not be published: {trouble.code}: {trouble.what}"


def _withdraw(view: View) -> list[RegionStep]:
    """Roll back a first deployment: there is no champion, so nothing may be left. A repair leaves what it found.

    What this rollout did not put there keeps its traffic: it may be a champion whose record cannot be read.
    """
    region, ours = view.region, view.rollout.challenger.id
    slots = view.observed.slots
    foreign = [name for name, slot in sorted(slots.items()) if slot.weight_pct > 0 and slot.release_id != ours]
    if view.rollout.mode != REPAIR and foreign:
        held = slots[foreign[0]]
        what = held.release_id or f"a release that cannot be read ({held.problem or 'no record'})"
        why = (
            f"slot {foreign[0]} serves {held.weight_pct:g} % with {what}, which this rollout did not start; left alone"
        )
        return [Enter(view.name, Phase.FAILED, reason=why)]
    if view.rollout.mode != REPAIR and any(slot.release_id or slot.weight_pct for slot in slots.values()):
        return [Remove(view.name)]
    return [Enter(view.name, Phase.ROLLED_BACK, verdict=region.verdict, reason=region.reason)]
