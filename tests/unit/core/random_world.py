"""A rollout in a world that does what it likes: faults, a person's hand, failing effects, a clock; and what must hold.

`Walk` takes turns as the loop does: it decides on a reading, something may happen in between, then the first step takes
effect if it still holds. After every turn the rules of `check` must hold, whatever happened.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from environments.errors import SluiceError
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.rollout import (
    FORWARD,
    GateResult,
    Intent,
    Phase,
    RegionRollout,
    Rollout,
    rollout_from_json,
    rollout_to_json,
)
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import after, failed, holds, watched_again
from reconciler.core.rollout.ideal import happened
from reconciler.core.rollout.next_steps import region_steps, rollout_steps
from reconciler.core.rollout.operator import aborted, paused, promoted_by_hand, resumed
from reconciler.core.rollout.steps import (
    EFFECTS,
    TRANSITIONS,
    Publish,
    Remove,
    RunGate,
    SetAlias,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    Wait,
)
from reconciler.core.rollout.view import NO_EVIDENCE, Evidence
from tests.support.builders.releases import changed

FAULTS = (
    "challenger restarts", "challenger dies", "challenger is silent", "challenger loses its machine",
    "challenger forgotten", "champion restarts", "champion dies", "champion is slow once", "champion's record is lost",
    "champion's slot is emptied", "gateway is gone", "weights are set by hand", "weights are rounded",
    "prompts cannot be read", "region is gone", "effects fail", "effects are refused", "all is well",
)  # fmt: skip
HANDS = ("pause", "resume", "abort", "promote", "new owner")
EVENTS = (*FAULTS, *HANDS, "nothing")


@dataclass(frozen=True)
class Turn:
    """One turn: what happens in which region, before the decision and between it and its effect; what is known."""

    event: str
    between: str
    region: int
    seconds: float
    canary: Verdict
    bake: Verdict
    gate: Verdict
    looks: int
    leaning: bool


@dataclass
class Walk:
    """One rollout on its way. `world` is by region; `covered` counts phase, paused or not, and event."""

    going: Rollout
    world: dict[str, ObservedEndpoint]
    now: float = 0.0
    gone: set[str] = field(default_factory=set)
    failing: dict[str, str] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    was_aborted: bool = False
    covered: Counter[tuple[str, bool, str]] = field(default_factory=Counter)

    def take(self, turn: Turn) -> None:
        """Let one turn happen in every region and in the rollout as a whole."""
        self.now += turn.seconds
        names = list(self.world)
        self.happen(turn.event, names[turn.region % len(names)])
        evidence = Evidence(
            turn.canary, "c", turn.bake, "b", 100, 10, watched_s=turn.seconds, looks=turn.looks, leaning=turn.leaning
        )
        for name in names:
            self._act(name, evidence, turn)
        for step in rollout_steps(self.going, self.now)[:1]:
            self._do(step, self.going, turn, "*")
        self.going = rollout_from_json(rollout_to_json(self.going))

    def _act(self, name: str, evidence: Evidence, turn: Turn) -> None:
        decided_on = self.going
        seen = None if name in self.gone else self.world[name]
        steps = region_steps(decided_on, name, seen, evidence, self.now)
        for step in steps[:1]:
            self._checked(step, evidence)
            self.happen(turn.between, name)
            self._do(step, decided_on, turn, name)

    def _do(self, step: Step, decided_on: Rollout, turn: Turn, name: str) -> None:
        if isinstance(step, TRANSITIONS):
            if holds(step, decided_on, self.going):
                self.going = after(self.going, step, self.now)
        elif isinstance(step, EFFECTS):
            fault = self.failing.get(name) or self._refusal(step)
            if fault:
                error = SluiceError("PLAT-010", what=fault, retryable=fault == "fail")
                self.going = failed(self.going, step, self.now, error=error)
                return
            if not (isinstance(step, SetWeights | Publish) and name in self.stubborn) and not isinstance(
                step, SetAlias
            ):
                self.world = self._took_effect(decided_on, step)
            found = GateResult(step.gate, turn.gate, "g") if isinstance(step, RunGate) else None
            self.going = after(self.going, step, self.now, found)
        check(self)

    def _checked(self, step: Step, evidence: Evidence) -> None:
        check_effect(step, self, evidence)

    def _took_effect(self, decided_on: Rollout, step: Step) -> dict[str, ObservedEndpoint]:
        return happened(self.world, decided_on, step)

    def _refusal(self, step: Step) -> str | None:
        """Return why a platform refuses an effect that the world has moved away from under it."""
        match step:
            case SetWeights(region=name, weights=weights):
                slots = self.world[name].slots
                empty = [s for s, pct in weights if pct > 0 and not (slots[s].release and slots[s].running)]
                return f"slot {empty[0]} has no server" if empty else None
            case StopSlot(region=name, slot=slot) if self.world[name].slots[slot].weight_pct > 0:
                return "the slot serves"
            case StartSlot(region=name, slot=slot, release=id):
                held = self.world[name].slots[slot]
                return "the slot serves" if held.weight_pct > 0 and held.release_id not in (None, id) else None
            case _:
                return None

    def happen(self, event: str, name: str) -> None:
        """Let something happen in a region, or to the rollout."""
        part = self.going.region(name)
        self.covered[str(part.phase), self.going.phase is Phase.PAUSED, event] += 1
        if event in HANDS:
            self._hand(event)
        else:
            self._fault(event, name, part)

    def _hand(self, event: str) -> None:
        if self.going.ended:
            return
        try:
            match event:
                case "pause":
                    self.going = paused(self.going, "by hand")
                case "resume" if self.going.phase is Phase.PAUSED:
                    self.going = resumed(self.going, self.now)
                case "abort":
                    self.going, self.was_aborted = aborted(self.going, "by hand"), True
                case "promote":
                    self.going = promoted_by_hand(self.going, "by hand", self.now)
                case "new owner":
                    self.going = watched_again(self.going, self.now)
                case _:
                    pass
        except SluiceError as error:
            if error.code != "ROLL-006" or not self.going.falling_back:
                raise

    def _fault(self, event: str, name: str, part: RegionRollout) -> None:
        seen = self.world[name]
        mine, champion = part.slot, part.champion_slot or ""
        match event:
            case "challenger restarts":
                self._slot(name, mine, ready=False, started=False, warm=False, displaced=False)
            case "challenger dies":
                self._slot(name, mine, ready=False, started=False, warm=False, running=False, displaced=False)
            case "challenger loses its machine":
                self._slot(name, mine, ready=False, started=False, warm=False, restarts=0, displaced=True)
            case "challenger is silent":
                self._slot(name, mine, ready=False, displaced=False)
            case "challenger forgotten" if seen.slots[mine].weight_pct == 0:
                self.world[name] = replace(seen, slots={**seen.slots, mine: ObservedSlot()})
            case "champion restarts":
                self._slot(name, champion, ready=False, started=False, warm=False)
            case "champion dies":
                self._slot(name, champion, ready=False, started=False, warm=False, running=False)
            case "champion is slow once":
                self._slot(name, champion, ready=False)
            case "champion's record is lost":
                self._slot(name, champion, release=None, running=False, ready=False, started=False)
            case "champion's slot is emptied" if champion and seen.slots[champion].weight_pct == 0:
                self.world[name] = replace(seen, slots={**seen.slots, champion: ObservedSlot()})
            case "gateway is gone":
                self.world[name] = replace(seen, gateway_problem="no answer")
            case "weights are set by hand":
                held = [slot for slot, s in sorted(seen.slots.items()) if s.release]
                if held:
                    slots = {s: replace(v, weight_pct=100.0 * (s == held[-1])) for s, v in seen.slots.items()}
                    self.world[name] = replace(seen, slots=slots)
            case "weights are rounded":
                self.world[name] = replace(seen, weight_resolution_pct=1.0, prompt_resolution_pct=1.0)
            case "prompts cannot be read":
                self.world[name] = replace(seen, pointer_problem="damaged", prompts={})
            case "region is gone":
                self.gone.add(name)
            case "effects fail":
                self.failing[name] = "fail"
            case "effects are refused":
                self.failing[name] = "refused"
                self.stubborn.add(name)
            case "all is well":
                self.recover(name)
            case _:
                pass

    def _slot(self, name: str, slot: str, **facts: object) -> None:
        seen = self.world[name]
        held = seen.slots.get(slot)
        if held and (held.release or held.weight_pct):
            self.world[name] = replace(seen, slots={**seen.slots, slot: changed(held, **facts)})

    def recover(self, name: str) -> None:
        """Let everything in a region be well again; what is gone for good stays gone."""
        self.gone.discard(name)
        self.failing.pop(name, None)
        self.stubborn.discard(name)
        seen = self.world[name]
        slots = {
            slot: changed(s, ready=True, started=True) if s.release and s.running else s
            for slot, s in seen.slots.items()
        }
        self.world[name] = replace(seen, slots=slots, gateway_problem=None)

    def ends_or_asks(self, quiet: Turn) -> None:
        """Let the world stay as it is, however bad: within five hours the rollout has ended or a person is asked."""
        for _ in range(1200):
            if self.settled:
                return
            self.take(replace(quiet, seconds=15))
        raise AssertionError(f"it waits for ever: {self.going}\n{self.world}\n{self.failing} {self.gone}")

    def mended(self, quiet: Turn) -> None:
        """Let all be well again, and a person resume a pause three times, and then give up, until it has ended."""
        resumed = 0
        for _ in range(600):
            for name in self.world:
                self.recover(name)
            if self.going.ended:
                return
            if self.going.phase is Phase.PAUSED and not self.going.falling_back:
                # Some things no time mends (a champion's record that is lost): the person gives up and goes back.
                self.happen("resume" if resumed < 3 else "abort", next(iter(self.world)))
                resumed += 1
            self.take(replace(quiet, seconds=40))
        raise AssertionError(f"it does not end: {self.going}\n{self.world}")

    @property
    def settled(self) -> bool:
        """Return whether the rollout has ended, or waits for a person in every region."""
        if self.going.ended:
            return True
        waiting = [
            step
            for name, seen in self.world.items()
            for step in region_steps(self.going, name, None if name in self.gone else seen, NO_EVIDENCE, self.now)
        ]
        quiet = all(isinstance(step, Wait) and step.settled for step in waiting)
        return quiet and self.going.phase is Phase.PAUSED


def check_effect(step: Step, walk: Walk, evidence: Evidence) -> None:
    """Hold each effect to what it must never do, before it happens."""
    if isinstance(step, StopSlot | Remove | StartSlot):
        seen, part = walk.world[step.region], walk.going.region(step.region)
        if isinstance(step, StopSlot):
            assert step.slot != part.champion_slot, "the champion's slot is never stopped"
            assert seen.slots[step.slot].weight_pct == 0, "a slot with weight is never stopped"
        if isinstance(step, Remove):
            foreign = [s for s in seen.slots.values() if s.weight_pct > 0 and s.release_id != walk.going.challenger.id]
            assert not foreign, "what this rollout did not start keeps its traffic"
    if isinstance(step, SetWeights):
        seen, part = walk.world[step.region], walk.going.region(step.region)
        risen = step.challenger_pct > seen.slots[part.slot].weight_pct
        if risen and walk.going.falling_back:
            raise AssertionError("no weight rises in a rollout that goes back")
        if risen and walk.going.phase is Phase.PAUSED:
            raise AssertionError("no weight rises in a rollout that is paused")
        if risen and evidence.canary is Verdict.FAIL and walk.going.intent is not Intent.PROMOTE:
            raise AssertionError("no weight rises on proof of harm")
        if part.champion_slot and step.challenger_pct < 100:
            assert walk.world[step.region].slots[part.champion_slot].release_id == (part.champion and part.champion.id)


def check(walk: Walk) -> None:
    """Hold the rollout and its world to what must be true at any time."""
    going = walk.going
    if walk.was_aborted:
        assert going.phase is not Phase.PROMOTED, "an abort never ends promoted"
        assert going.intent is Intent.ABORT, "an abort stays"
    for name, seen in walk.world.items():
        total = sum(seen.weights.values())
        assert abs(total - 100) < 1e-6 or total == 0, seen.weights
        part = going.region(name)
        if going.phase is Phase.PROMOTED:
            assert part.phase is Phase.PROMOTED
        if going.ended:
            assert part.phase not in FORWARD
