"""Decide what a rollout does next: a pure function of the rollout, what is live, the evidence and the time.

Level-triggered: it is asked again on every tick and after every crash, and it looks only at what is there.
Imports the core. `reconciler.loop` executes what it returns, in order; `plan` and the tests read the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from reconciler.core.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.release import Release
from reconciler.core.rollout import FORWARD, REPAIR, Intent, Phase, RegionRollout, Rollout
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

UNREADY_GRACE_S = 10.0
CRASHES_MAX = 3
GATE_ATTEMPTS = 3
STEP_REQUESTS_MIN = 20


@dataclass(frozen=True)
class Evidence:
    """What is known of one region at this tick.

    `canary` is the judge's verdict over the whole rollout, folded with the limits; `bake` is the verdict on the
    promises (`slo`) since the bake began. Requests are those since the present step came into force, of both arms
    together and of the challenger alone; `watched_s` is how much of the step they cover. `looks` counts the ticks of
    the present step that the judge has judged; `leaning` says that the evidence against the challenger has reached half
    of its limit.
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
class _View:
    """Everything that a decision about one region looks at."""

    rollout: Rollout
    region: RegionRollout
    observed: ObservedEndpoint
    evidence: Evidence
    now: float

    @property
    def elapsed_s(self) -> float:
        return max(0.0, self.now - self.region.since)

    @property
    def challenger(self) -> ObservedSlot:
        return self.observed.slots.get(self.region.slot, ObservedSlot())

    @property
    def champion(self) -> ObservedSlot | None:
        slot = self.region.champion_slot
        return None if slot is None else self.observed.slots.get(slot, ObservedSlot())


def next_steps(
    rollout: Rollout,
    observed: Mapping[str, ObservedEndpoint],
    evidence: Mapping[str, Evidence],
    now: float,
) -> tuple[Step, ...]:
    """Return what to do now, in order; `observed` and `evidence` are keyed by region.

    A region that is missing in `observed` could not be read: it is waited for, and holds its wave. Steps that change
    traffic come before steps that tidy up. An ended rollout has no steps.
    """
    if rollout.ended:
        return ()
    if all(r.phase is Phase.PROMOTED for r in rollout.regions) and not _falling_back(rollout):
        return (Mark(rollout.challenger.model.ref), Finish(Phase.PROMOTED, _promoted_reason(rollout)))
    if all(r.phase is Phase.ROLLED_BACK for r in rollout.regions):
        ended = Phase.FAILED if rollout.mode == REPAIR else Phase.ROLLED_BACK
        return (Finish(ended, rollback_cause(rollout)),)
    steps: list[Step] = []
    for region in rollout.regions:
        if region.region in observed:
            known = evidence.get(region.region, NO_EVIDENCE)
            steps += _region_steps(_View(rollout, region, observed[region.region], known, now))
        elif region.phase not in (Phase.PROMOTED, Phase.ROLLED_BACK):
            steps.append(Await(region.region, "the region cannot be read; holding"))
    return tuple(steps)


def rollback_cause(rollout: Rollout) -> str:
    """Return why the rollout rolls back: the region that failed first speaks for all."""
    failed = [r for r in rollout.regions if r.verdict is Verdict.FAIL and r.reason]
    if failed:
        return min(failed, key=lambda r: (r.wave, r.region)).reason
    return rollout.reason or next((r.reason for r in rollout.regions if r.reason), "rolled back")


def _promoted_reason(rollout: Rollout) -> str:
    return next((r.reason for r in rollout.regions if r.reason), "every gate passed")


def _falling_back(rollout: Rollout) -> bool:
    return rollout.intent is Intent.ABORT or any(
        r.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK) for r in rollout.regions
    )


def _region_steps(view: _View) -> list[Step]:
    if _falling_back(view.rollout):
        return _back(view)
    if view.rollout.phase is Phase.PAUSED:
        return _hold(view)
    if view.rollout.intent is Intent.PAUSE:
        return [Pause(view.region.region, None, view.rollout.reason or "paused by a person")]
    return _forward(view)


def _forward(view: _View) -> list[Step]:
    match view.region.phase:
        case Phase.PENDING:
            return _open_wave(view)
        case Phase.PREPARING:
            return _prepare(view)
        case Phase.GATING:
            return _trouble(view) or _gate(view)
        case Phase.SHIFTING:
            return _trouble(view) or _shift(view)
        case Phase.BAKING:
            return _trouble(view) or _bake(view)
        case Phase.PROMOTED:
            return []
        case Phase.PAUSED | Phase.ROLLING_BACK | Phase.ROLLED_BACK | Phase.FAILED:
            return _back(view)
        case _:
            assert_never(view.region.phase)


def _open_wave(view: _View) -> list[Step]:
    name, wave = view.region.region, view.region.wave
    holding = [r.region for r in view.rollout.regions if r.wave < wave and r.phase is not Phase.PROMOTED]
    if holding:
        return [Await(name, f"wave {wave + 1} waits for {', '.join(holding)}")]
    return [Enter(name, Phase.PREPARING)]


def _prepare(view: _View) -> list[Step]:
    name, slot, seen = view.region.region, view.region.slot, view.challenger
    wanted = view.rollout.challenger.id
    champion = view.champion
    if champion is not None and champion.ready:
        # Nothing is judged yet: weights or prompts that somebody left to the challenger's slot go back first.
        moving = converge(view.rollout, view.region, view.observed, 0.0)
        if moving:
            return moving
    if seen.release_id != wanted or not seen.running:
        if seen.weight_pct > 0 and seen.release_id != wanted:
            why = f"slot {slot} serves {seen.weight_pct:g} % with {seen.release_id}; it was expected to be free"
            return [Pause(name, Verdict.ERROR, why)]
        return [StartSlot(name, slot, wanted)]
    if seen.fatal:
        return [_fail(view, seen.problem or "the challenger serves something else")]
    if seen.restarts >= CRASHES_MAX:
        return [_fail(view, f"the challenger crashed {seen.restarts} times while starting: {seen.problem}")]
    if not seen.ready:
        left = view.rollout.settings.start_timeout_s - view.elapsed_s
        if left <= 0:
            limit = view.rollout.settings.start_timeout_s
            return [_fail(view, f"the challenger was not ready after {limit:g} s: {seen.problem or 'starting'}")]
        return [Await(name, seen.problem or "the challenger is starting", left)]
    if not seen.warm:
        return [WarmSlot(name, slot, view.rollout.settings.warmup_requests)]
    return [Enter(name, Phase.GATING)]


def _gate(view: _View) -> list[Step]:
    settings = view.rollout.settings
    for gate in settings.gate_names:
        found = view.region.gate(gate)
        if found is None:
            return [RunGate(view.region.region, gate)]
        match found.verdict:
            case Verdict.PASS:
                continue
            case Verdict.FAIL:
                return [_fail(view, found.sentence)]
            case Verdict.ERROR if found.attempts < GATE_ATTEMPTS:
                return [RunGate(view.region.region, gate)]
            case Verdict.ERROR:
                return [Pause(view.region.region, Verdict.ERROR, found.sentence)]
            case Verdict.INCONCLUSIVE:
                undecided = _inconclusive(view, found.sentence)
                if undecided:
                    return undecided
            case _:
                assert_never(found.verdict)
    if view.region.champion_slot is None or not settings.ladder:
        return [Enter(view.region.region, Phase.BAKING)]
    return [Enter(view.region.region, Phase.SHIFTING, 0)]


def _shift(view: _View) -> list[Step]:
    settings, evidence = view.rollout.settings, view.evidence
    if evidence.canary is Verdict.FAIL:
        return [_fail(view, evidence.canary_sentence)]
    moving = converge(view.rollout, view.region, view.observed, settings.ladder[view.region.step])
    if moving:
        return moving
    if view.rollout.intent is Intent.PROMOTE:
        return [Enter(view.region.region, Phase.BAKING, verdict=evidence.canary, reason=view.rollout.reason)]
    last = view.region.step == len(settings.ladder) - 1
    enough = evidence.step_requests >= STEP_REQUESTS_MIN and evidence.step_challenger_requests > 0
    if view.elapsed_s >= settings.step_min_s:
        if last and evidence.canary is Verdict.PASS:
            return [Enter(view.region.region, Phase.BAKING, verdict=Verdict.PASS, reason=evidence.canary_sentence)]
        if not last and enough and evidence.canary is not Verdict.ERROR:
            return [Enter(view.region.region, Phase.SHIFTING, view.region.step + 1)]
    if view.elapsed_s > settings.step_max_s:
        if evidence.canary is Verdict.ERROR:
            return [Pause(view.region.region, Verdict.ERROR, evidence.canary_sentence)]
        why = f"undecided after {settings.step_max_s:g} s at {settings.ladder[view.region.step]:g} %: "
        return _inconclusive(view, why + evidence.canary_sentence) or [Enter(view.region.region, Phase.BAKING)]
    return [Await(view.region.region, evidence.canary_sentence, settings.step_max_s - view.elapsed_s)]


def _bake(view: _View) -> list[Step]:
    settings, evidence = view.rollout.settings, view.evidence
    moving = converge(view.rollout, view.region, view.observed, 100.0)
    if moving:
        return moving
    if evidence.bake is Verdict.FAIL:
        return [_fail(view, evidence.bake_sentence)]
    if view.rollout.intent is not Intent.PROMOTE and view.elapsed_s < settings.bake_s:
        return [Await(view.region.region, f"baking; {evidence.bake_sentence}", settings.bake_s - view.elapsed_s)]
    # On a first deployment nobody may be calling yet, and there is no champion to fall back to.
    judged = view.region.champion_slot is not None and settings.slo and settings.bake_s > 0
    if judged and evidence.bake is not Verdict.PASS and view.rollout.intent is not Intent.PROMOTE:
        unwatched = evidence.watched_s < settings.bake_s - settings.tick_s or evidence.watched_s == 0
        left = settings.bake_s + settings.step_max_s - view.elapsed_s
        if unwatched and left > 0:
            # A busy machine may have looked too late: what nobody watched says nothing about traffic.
            return [Await(view.region.region, f"baking; {evidence.bake_sentence}", left)]
        undecided = _inconclusive(view, f"the bake ended undecided: {evidence.bake_sentence}")
        if undecided:
            return undecided
    return [Enter(view.region.region, Phase.PROMOTED, verdict=Verdict.PASS, reason=view.region.reason)]


def _hold(view: _View) -> list[Step]:
    """Keep a paused region as it is, and still roll back when it turns out to be bad."""
    region = view.region
    if region.phase not in FORWARD:
        return []
    if region.phase in (Phase.SHIFTING, Phase.BAKING):
        trouble = _trouble(view)
        if trouble:
            return trouble
        if view.evidence.canary is Verdict.FAIL and region.phase is Phase.SHIFTING:
            return [_fail(view, view.evidence.canary_sentence)]
    return [Await(region.region, f"paused: {view.rollout.reason}")]


def _trouble(view: _View) -> list[Step]:
    """Return the steps that a challenger in bad health asks for; none when it is well."""
    seen, name = view.challenger, view.region.region
    if seen.release_id != view.rollout.challenger.id:
        return [
            _fail(view, f"slot {view.region.slot} no longer runs the challenger but {seen.release_id or 'nothing'}")
        ]
    if seen.fatal:
        return [_fail(view, seen.problem or "the challenger serves something else")]
    if not seen.warm or not seen.running:
        return [_fail(view, f"the challenger's server died: {seen.problem or 'it was restarted'}")]
    if seen.ready:
        return [Note(name, None)] if view.region.unready_since is not None else []
    if view.region.unready_since is None:
        return [Note(name, view.now)]
    silent_s = view.now - view.region.unready_since
    if silent_s > UNREADY_GRACE_S:
        return [_fail(view, f"the challenger has not answered for {silent_s:.0f} s: {seen.problem or 'no answer'}")]
    return [Await(name, f"the challenger does not answer: {seen.problem}", UNREADY_GRACE_S - silent_s)]


def _back(view: _View) -> list[Step]:
    region, name = view.region, view.region.region
    match region.phase:
        case Phase.ROLLED_BACK:
            return []
        case Phase.PENDING:
            return [Enter(name, Phase.ROLLED_BACK, reason="never started")]
        case Phase.ROLLING_BACK:
            return _fall_back(view) if region.champion else _withdraw(view)
        case _:
            return [Enter(name, Phase.ROLLING_BACK, reason=rollback_cause(view.rollout))]


def _fall_back(view: _View) -> list[Step]:
    region, champion = view.region, view.champion
    if champion is None or region.champion is None or region.champion_slot is None:
        return _withdraw(view)
    astray = champion.release_id != region.champion.id and champion.weight_pct == 0
    if astray or not champion.running:
        return [StartSlot(region.region, region.champion_slot, region.champion.id, role="champion")]
    if not champion.ready:
        return [Await(region.region, f"the champion does not answer yet: {champion.problem or 'starting'}")]
    moving = converge(view.rollout, region, view.observed, 0.0)
    if moving:
        return moving
    if view.challenger.release_id == view.rollout.challenger.id and region.slot != region.champion_slot:
        return [StopSlot(region.region, region.slot)]
    return [Enter(region.region, Phase.ROLLED_BACK, verdict=region.verdict, reason=region.reason)]


def _withdraw(view: _View) -> list[Step]:
    """Roll back a first deployment: there is no champion, so nothing may be left. A repair leaves what it found."""
    if view.rollout.mode != REPAIR and any(slot.release_id or slot.weight_pct for slot in view.observed.slots.values()):
        return [Remove(view.region.region)]
    return [Enter(view.region.region, Phase.ROLLED_BACK, verdict=view.region.verdict, reason=view.region.reason)]


def _fail(view: _View, why: str) -> Step:
    return Enter(view.region.region, Phase.ROLLING_BACK, verdict=Verdict.FAIL, reason=why)


def _inconclusive(view: _View, why: str) -> list[Step]:
    """Return what `on_inconclusive` (or a person's `promote`) makes of it; nothing means: go on."""
    if view.rollout.intent is Intent.PROMOTE:
        return []
    match view.rollout.settings.on_inconclusive:
        case "promote":
            return []
        case "roll_back":
            return [Enter(view.region.region, Phase.ROLLING_BACK, verdict=Verdict.INCONCLUSIVE, reason=why)]
        case _:
            return [Pause(view.region.region, Verdict.INCONCLUSIVE, why)]


def converge(rollout: Rollout, region: RegionRollout, observed: ObservedEndpoint, pct: float) -> list[Step]:
    """Return the steps that give the challenger `pct` percent of traffic and of users; none when that is so.

    A gateway that is gone is brought back by the same weights. Without a champion the challenger gets everything.
    """
    share = pct if region.champion_slot is not None else 100.0
    wanted = dict.fromkeys(observed.slots, 0.0) | {region.slot: share}
    if region.champion_slot is not None and region.champion_slot != region.slot:
        wanted[region.champion_slot] = 100.0 - share
    steps: list[Step] = []
    if wanted != {**dict.fromkeys(wanted, 0.0), **observed.weights} or observed.gateway_problem:
        steps.append(Weigh(region.region, tuple(sorted(wanted.items())), share))
    if wanted_prompts(rollout, region, share) != dict(observed.prompts):
        steps.append(Publish(region.region, share))
    return steps


def wanted_prompts(
    rollout: Rollout, region: RegionRollout, share_pct: float
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Return for every prompt the releases that its users are drawn from, as `(release id, percent)`."""
    drawn = drawn_releases(rollout, region, share_pct)
    shares = tuple((release.id, pct) for release, pct in drawn)
    return dict.fromkeys(sorted({name for release, _ in drawn for name in release.prompts}), shares)


def drawn_releases(rollout: Rollout, region: RegionRollout, share_pct: float) -> tuple[tuple[Release, float], ...]:
    """Return the releases that users are drawn from with their shares, challenger first, without shares of zero."""
    if region.champion is None or region.champion.id == rollout.challenger.id:
        return ((rollout.challenger, 100.0),)
    both = ((rollout.challenger, share_pct), (region.champion, 100.0 - share_pct))
    return tuple((release, pct) for release, pct in both if pct > 0)
