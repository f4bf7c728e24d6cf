"""A rollout over slots of many servers in a world that does what it likes: servers die, hang, and find no room."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.core.rollout.ideal import happened
from reconciler.core.rollout.steps import ScaleSlot, SetWeights, StartSlot, Step
from reconciler.core.rollout.view import Evidence
from tests.unit.core.random_world import FAULTS, Walk, check_effect

SERVERS = (
    "a server of the challenger dies", "a server of the challenger hangs", "a server of the challenger is evicted",
    "a server of the champion dies", "a server of the champion hangs", "a server of the champion is evicted",
    "no room for servers",
)  # fmt: skip
FLEET_EVENTS = (*SERVERS, *FAULTS)


def fleet(seen: ObservedEndpoint, servers: int) -> ObservedEndpoint:
    """Return the endpoint with `servers` in each slot that has a release, ready and warm."""
    ready = tuple(Replica(str(n), ServerState.READY, warm=True) for n in range(servers))
    slots = {
        name: replace(slot, replicas=ready, wanted=servers) if slot.release else slot
        for name, slot in seen.slots.items()
    }
    return replace(seen, slots=slots)


@dataclass
class FleetWalk(Walk):
    """A walk whose slots have many servers, no more than the rollout's surge allows."""

    cramped: set[str] = field(default_factory=set)

    def most(self, name: str) -> int:
        """Return how many servers both slots of a region may have together."""
        settings, steady = self.going.settings, self.going.region(name).replicas
        return steady + settings.surge_replicas if settings.surge == "swap" else 2 * steady

    def _checked(self, step: Step, evidence: Evidence) -> None:
        check_effect(step, self, evidence)
        if not isinstance(step, SetWeights):
            return
        part, seen = self.going.region(step.region), self.world[step.region]
        challenger = seen.slots[part.slot]
        if step.challenger_pct > challenger.weight_pct:
            need = max(1, math.ceil(step.challenger_pct / 100 * part.replicas - 1e-2))
            assert challenger.ready_count >= need, f"{challenger.ready_count} of {need} servers for {step}"

    def _took_effect(self, decided_on: Rollout, step: Step) -> dict[str, ObservedEndpoint]:
        """Return the world after a step; where there is no room, servers that are new start for ever."""
        after = happened(self.world, decided_on, step)
        if not isinstance(step, StartSlot | ScaleSlot) or step.region not in self.cramped:
            return after
        before = len(self.world[step.region].slots[step.slot].replicas) if isinstance(step, ScaleSlot) else 0
        held = after[step.region].slots[step.slot]
        servers = tuple(r if n < before else _pending(r) for n, r in enumerate(held.replicas))
        return _with(after, step.region, step.slot, replace(held, replicas=servers))

    def _fault(self, event: str, name: str, part: RegionRollout) -> None:
        if event == "no room for servers":
            self.cramped.add(name)
        elif event in SERVERS:
            slot = part.slot if "challenger" in event else part.champion_slot
            if slot:
                self._one(name, slot, event.rpartition(" ")[2])
        else:
            super()._fault(event, name, part)

    def _one(self, name: str, slot: str, what: str) -> None:
        """Let the first ready server of a slot die, hang, or be evicted: then another starts in its place."""
        held = self.world[name].slots[slot]
        first = next((n for n, r in enumerate(held.replicas) if r.state is ServerState.READY), None)
        if first is None:
            return
        state = {"dies": ServerState.RESTARTING, "hangs": ServerState.SILENT, "evicted": ServerState.STARTING}[what]
        servers = list(held.replicas)
        servers[first] = replace(servers[first], state=state, warm=servers[first].warm and what == "hangs")
        self.world = _with(self.world, name, slot, replace(held, replicas=tuple(servers)))

    def _slot(self, name: str, slot: str, **facts: object) -> None:
        """Let a fault of the whole slot befall each of its servers."""
        held = self.world[name].slots.get(slot)
        if held is None or not (held.release or held.weight_pct):
            return
        if "release" in facts:
            held = replace(held, release=None, damage="nobody knows its release")
        dead, started = facts.get("running") is False, facts.get("started") is not False
        state = ServerState.DEAD if dead else ServerState.SILENT if started else ServerState.RESTARTING
        servers = tuple(replace(r, state=state, warm=r.warm and started) for r in held.replicas)
        self.world = _with(self.world, name, slot, replace(held, replicas=servers))

    def recover(self, name: str) -> None:
        """Let everything in a region be well again: servers that come back by themselves are ready."""
        self.gone.discard(name)
        self.failing.pop(name, None)
        self.stubborn.discard(name)
        self.cramped.discard(name)
        slots = {slot: _recovered(held) for slot, held in self.world[name].slots.items()}
        self.world[name] = replace(self.world[name], slots=slots, gateway_problem=None)


def _recovered(held: ObservedSlot) -> ObservedSlot:
    back = tuple(r if r.state is ServerState.DEAD else replace(r, state=ServerState.READY) for r in held.replicas)
    return replace(held, replicas=back) if held.release else held


def _pending(server: Replica) -> Replica:
    return replace(server, state=ServerState.STARTING, warm=False, reason="no node with a free GPU")


def _with(world: dict[str, ObservedEndpoint], name: str, slot: str, held: ObservedSlot) -> dict[str, ObservedEndpoint]:
    return {**world, name: replace(world[name], slots={**world[name].slots, slot: held})}
