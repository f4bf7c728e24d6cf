"""The way forward in one region: prepare the challenger, ask its gates, shift weight step by step, bake. Pure."""

from __future__ import annotations

from typing import assert_never

from reconciler.core.model.rollout import Intent, Phase
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import (
    Enter,
    NoteSilence,
    Pause,
    RegionStep,
    RunGate,
    ScaleSlot,
    StartSlot,
    StopSlot,
    Wait,
    WarmSlot,
)
from reconciler.core.rollout.surge import first_servers, needs_proof, shift_to, steady_need, take_back
from reconciler.core.rollout.traffic_split import converge
from reconciler.core.rollout.view import View, fail

UNREADY_GRACE_S = 10.0
CRASHES_MAX = 3
GATE_ATTEMPTS = 3
CRASHED_SHARE_MAX = 0.1
"""The share of a challenger's servers that may crash: one of fifty may have had a bad machine."""
STEP_REQUESTS_MIN = 20


def prepare(view: View) -> list[RegionStep]:
    """Bring the challenger up beside the champion and warm it up, without traffic."""
    name, slot, seen = view.name, view.region.slot, view.challenger
    wanted = view.rollout.challenger.id
    first = mend_champion(view) or _before_anything_is_judged(view)
    if first:
        return first
    count = first_servers(view)
    if seen.release_id != wanted or not seen.running:
        if seen.weight_pct > 0 and seen.release_id != wanted:
            held = seen.release_id or "an unknown release"
            why = f"slot {slot} serves {seen.weight_pct:g} % with {held}; it was expected to be free"
            return [Pause(name, Verdict.ERROR, why)]
        return [StartSlot(name, slot, wanted, replicas=count)]
    if seen.fatal:
        return [fail(view, seen.problem or "the challenger serves something else")]
    if seen.restarts >= CRASHES_MAX:
        return [fail(view, f"the challenger crashed {seen.restarts} times while starting: {seen.problem}")]
    if seen.wanted < count:
        return [ScaleSlot(name, slot, count)]
    if seen.ready_count < count:
        left = view.rollout.settings.start_timeout_s - view.elapsed_s
        if left <= 0:
            limit = view.rollout.settings.start_timeout_s
            if seen.ready:  # some serve, so it is not the release that is at fault
                return [Pause(name, Verdict.ERROR, f"after {limit:g} s {seen.problem}")]
            return [fail(view, f"the challenger was not ready after {limit:g} s: {seen.problem or 'starting'}")]
        return [Wait(name, seen.problem or "the challenger is starting", left)]
    if not seen.warm:
        return [WarmSlot(name, slot, view.rollout.settings.warmup_requests)]
    return [Enter(name, Phase.GATING)]


def _before_anything_is_judged(view: View) -> list[RegionStep]:
    """Take back weights or prompts that somebody left to the challenger's slot."""
    if view.champion is None or not view.champion.serves:
        return []
    return list(converge(view.rollout, view.region, view.observed, 0.0))


def gate(view: View) -> list[RegionStep]:
    """Ask the gates that have not passed yet, one after the other; a person's `promote` passes them all."""
    settings = view.rollout.settings
    by_hand = view.rollout.intent is Intent.PROMOTE
    for name in () if by_hand else settings.gate_names:
        found = view.region.gate(name)
        if found is None:
            return [RunGate(view.name, name)]
        match found.verdict:
            case Verdict.PASS:
                continue
            case Verdict.FAIL:
                return [fail(view, found.sentence)]
            case Verdict.ERROR if found.attempts < GATE_ATTEMPTS:
                return [RunGate(view.name, name)]
            case Verdict.ERROR:
                return [Pause(view.name, Verdict.ERROR, found.sentence)]
            case Verdict.INCONCLUSIVE:
                undecided = _inconclusive(view, found.sentence)
                if undecided:
                    return undecided
            case _:
                assert_never(found.verdict)
    if view.region.champion_slot is None or not settings.ladder or by_hand:
        return [Enter(view.name, Phase.BAKING)]
    return [Enter(view.name, Phase.SHIFTING, 0)]


def shift(view: View) -> list[RegionStep]:
    """Give the challenger the weight of its step, and raise it when the step's time and evidence allow.

    No weight rises before the judge has looked at the present one, nor while what it saw leans against the challenger.
    """
    settings, evidence = view.rollout.settings, view.evidence
    by_hand = view.rollout.intent is Intent.PROMOTE
    if evidence.canary is Verdict.FAIL and not by_hand:
        return [fail(view, evidence.canary_sentence)]
    moving = shift_to(view, settings.ladder[view.region.step])
    if moving:
        return moving
    if by_hand:
        return [Enter(view.name, Phase.BAKING, reason=view.rollout.reason)]
    last = view.region.step == len(settings.ladder) - 1
    seen = evidence.looks > 0 and not evidence.leaning
    if view.elapsed_s >= settings.step_min_s and seen:
        enough = evidence.step_requests >= STEP_REQUESTS_MIN and evidence.step_challenger_requests > 0
        if last and evidence.canary is Verdict.PASS:
            return [Enter(view.name, Phase.BAKING, verdict=Verdict.PASS, reason=evidence.canary_sentence)]
        proven = evidence.canary is Verdict.PASS or not _takes_servers_next(view)
        if not last and enough and proven and evidence.canary is not Verdict.ERROR:
            return [Enter(view.name, Phase.SHIFTING, view.region.step + 1)]
    if view.elapsed_s > settings.step_max_s:
        if evidence.canary is Verdict.ERROR:
            return [Pause(view.name, Verdict.ERROR, evidence.canary_sentence)]
        why = f"undecided after {settings.step_max_s:g} s at {settings.ladder[view.region.step]:g} %: "
        return _inconclusive(view, why + evidence.canary_sentence) or [Enter(view.name, Phase.BAKING)]
    return [Wait(view.name, evidence.canary_sentence, settings.step_max_s - view.elapsed_s)]


def _takes_servers_next(view: View) -> bool:
    """Return whether the next share takes servers from the champion that the present one does not."""
    shares = view.rollout.settings.ladder[view.region.step : view.region.step + 2]
    return [needs_proof(view, share) for share in shares] == [False, True]


def bake(view: View) -> list[RegionStep]:
    """Give the challenger everything while the champion stays warm, and hold it to its promises."""
    settings, evidence = view.rollout.settings, view.evidence
    by_hand = view.rollout.intent is Intent.PROMOTE
    # The canary's evidence first: what began under the last step may end only now.
    for verdict, why in ((evidence.canary, evidence.canary_sentence), (evidence.bake, evidence.bake_sentence)):
        if verdict is Verdict.FAIL and not by_hand:
            return [fail(view, why)]
    moving = shift_to(view, 100.0)
    if moving:
        return moving
    if not by_hand:
        if view.elapsed_s < settings.bake_s:
            return [Wait(view.name, f"baking; {evidence.bake_sentence}", settings.bake_s - view.elapsed_s)]
        undecided = _undecided_bake(view)
        if undecided:
            return undecided
    emptied = retire(view)
    if emptied:
        return emptied
    passed = None if by_hand else Verdict.PASS
    return [Enter(view.name, Phase.PROMOTED, verdict=passed, reason=view.region.reason)]


def retire(view: View) -> list[RegionStep]:
    """Return the end of what a slot was kept warm for; nothing when it is empty, or serves after all."""
    slot = view.region.retires
    seen = view.observed.slots.get(slot) if slot else None
    if slot is None or seen is None or slot == view.region.slot or seen.weight_pct > 0:
        return []
    return [StopSlot(view.name, slot)] if seen.release is not None else []


def _undecided_bake(view: View) -> list[RegionStep]:
    """Return what a bake whose time is over and that has not passed asks for; nothing when it has passed."""
    settings, evidence = view.rollout.settings, view.evidence
    # On a first deployment nobody may be calling yet, and there is no champion to fall back to.
    judged = view.region.champion_slot is not None and (settings.slo or settings.limits) and settings.bake_s > 0
    if not judged or evidence.bake is Verdict.PASS:
        return []
    left = settings.bake_s + settings.step_max_s - view.elapsed_s
    # A busy machine may have looked too late: what nobody watched says nothing about traffic.
    unwatched = evidence.watched_s < settings.bake_s - settings.tick_s or evidence.watched_s == 0
    if left > 0 and (unwatched or evidence.bake is Verdict.ERROR):
        return [Wait(view.name, f"baking; {evidence.bake_sentence}", left)]
    why = f"the bake ended undecided: {evidence.bake_sentence}"
    if evidence.bake is Verdict.ERROR:
        return [Pause(view.name, Verdict.ERROR, why)]
    return _inconclusive(view, why)


def trouble_of(view: View) -> list[RegionStep]:
    """Return the steps that a challenger in bad health asks for; none when it is well. Then the champion's."""
    seen, name = view.challenger, view.name
    if seen.release_id != view.rollout.challenger.id:
        return [fail(view, f"slot {view.region.slot} no longer runs the challenger but {seen.release_id or 'nothing'}")]
    if seen.fatal:
        return [fail(view, seen.problem or "the challenger serves something else")]
    if seen.displaced and seen.crashed == 0:
        return _displaced(view)
    if not seen.was_warm or not seen.running:
        return [fail(view, f"the challenger's server died: {seen.problem or 'it was restarted'}")]
    if seen.crashed > CRASHED_SHARE_MAX * seen.wanted:
        return [fail(view, f"{seen.crashed} of the challenger's {seen.wanted} servers crashed: {seen.problem}")]
    if view.region.displaced_since is not None:
        return [NoteSilence(name, "displaced", None)]
    if seen.ready:
        if view.region.unready_since is not None:
            return [NoteSilence(name, "unready", None)]
        if not seen.warm:
            return [WarmSlot(name, view.region.slot, view.rollout.settings.warmup_requests)]
        return mend_champion(view)
    if view.region.unready_since is None:
        return [NoteSilence(name, "unready", view.now)]
    silent_s = view.now - view.region.unready_since
    if silent_s > UNREADY_GRACE_S:
        return [fail(view, f"the challenger has not answered for {silent_s:.0f} s: {seen.problem or 'no answer'}")]
    return [Wait(name, f"the challenger does not answer: {seen.problem}", UNREADY_GRACE_S - silent_s)]


def _displaced(view: View) -> list[RegionStep]:
    """Hold a rollout whose challenger lost its machine: another server may stand in its place, the release is as good.

    Its traffic waits at the champion. The step's time begins anew when it has that traffic back.
    """
    seen, name, since = view.challenger, view.name, view.region.displaced_since
    served = view.champion is not None and view.champion.serves
    first = mend_champion(view) or (take_back(view) if served else [])
    if first:
        return first
    if since is None:
        return [NoteSilence(name, "displaced", view.now)]
    if seen.ready:
        return [WarmSlot(name, view.region.slot, view.rollout.settings.warmup_requests)]
    limit = view.rollout.settings.start_timeout_s
    left, why = since + limit - view.now, seen.problem or "another one starts"
    if left <= 0:
        told = f"the challenger lost its server with its machine, and no other one was ready after {limit:g} s: {why}"
        return [Pause(name, Verdict.ERROR, told)]
    holds = "the champion has the traffic meanwhile" if served else "nothing serves meanwhile"
    return [Wait(name, f"the challenger lost its server with its machine, and {holds}: {why}", left)]


def mend_champion(view: View) -> list[RegionStep]:
    """Return the start of a champion whose server is gone: it carries traffic, and it is what a rollback needs."""
    region, champion = view.region, view.champion
    if champion is None or region.champion is None or region.champion_slot is None:
        return []
    if champion.release_id == region.champion.id:
        return [] if champion.running else [_start(view)]
    if champion.weight_pct > 0:
        held = champion.release_id or f"a release that cannot be read ({champion.problem or 'no record'})"
        why = f"slot {region.champion_slot} serves {champion.weight_pct:g} % with {held} instead of the champion"
        return [Pause(view.name, Verdict.ERROR, why)]
    return [_start(view)]


def _start(view: View) -> StartSlot:
    slot, champion = view.region.champion_slot, view.region.champion
    wanted = champion.id if champion else ""
    return StartSlot(view.name, slot or "", wanted, role="champion", replicas=steady_need(view))


def _inconclusive(view: View, why: str) -> list[RegionStep]:
    """Return what `on_inconclusive` makes of it; nothing means: go on."""
    match view.rollout.settings.on_inconclusive:
        case "promote":
            return []
        case "roll_back":
            return [Enter(view.name, Phase.ROLLING_BACK, verdict=Verdict.INCONCLUSIVE, reason=why)]
        case _:
            return [Pause(view.name, Verdict.INCONCLUSIVE, why)]
