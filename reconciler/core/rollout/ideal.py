"""The ideal world, in which every step works at once: what a plan's steps are read from. Pure.

Plans and executor share `next_steps`; this runs it with passing evidence until the rollout ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from environments.names import SLOTS
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState
from reconciler.core.model.rollout import GateResult, Phase, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.after import after
from reconciler.core.rollout.begin import empty_endpoint
from reconciler.core.rollout.next_steps import next_steps
from reconciler.core.rollout.steps import (
    EFFECTS,
    Enter,
    Finish,
    Pause,
    Publish,
    Remove,
    RunGate,
    ScaleSlot,
    SetWeights,
    StartSlot,
    Step,
    StopSlot,
    WarmSlot,
)
from reconciler.core.rollout.traffic_split import wanted_prompts
from reconciler.core.rollout.view import Evidence

_ROUNDS_MAX = 500


def ideal_steps(rollout: Rollout, observed: Mapping[str, ObservedEndpoint]) -> tuple[Step, ...]:
    """Return every effect and phase that the rollout passes through when nothing goes wrong, in order."""
    return ideal_run(rollout, observed)[0]


def ideal_run(
    rollout: Rollout, observed: Mapping[str, ObservedEndpoint]
) -> tuple[tuple[Step, ...], dict[str, ObservedEndpoint]]:
    """Return the steps of `ideal_steps`, and what is live afterwards, by region.

    Where even an ideal world needs a person (a slot that should be free serves), the last step is a pause.
    """
    world = {
        r.region: _recovered(observed.get(r.region) or empty_endpoint(rollout.address(r.region)))
        for r in rollout.regions
    }
    done: list[Step] = []
    now = rollout.started_at
    for _ in range(_ROUNDS_MAX):
        steps = next_steps(rollout, world, {name: _passing(rollout) for name in world}, now)
        if not steps:
            return tuple(done), world
        for step in steps:
            found = GateResult(step.gate, Verdict.PASS, "") if isinstance(step, RunGate) else None
            world = happened(world, rollout, step)
            rollout = after(rollout, step, now, found)
            if isinstance(step, (*EFFECTS, Enter, Finish, Pause)):
                done.append(step)
        if rollout.phase is Phase.PAUSED:
            return tuple(done), world
        now += max(rollout.settings.step_min_s, rollout.settings.bake_s, 1.0)
    raise AssertionError(f"rollout {rollout.id} has no end in an ideal world: {done[-5:]}")


def _recovered(seen: ObservedEndpoint) -> ObservedEndpoint:
    """Return the endpoint with every server that comes back by itself ready; a dead one stays dead until started."""
    slots = {
        name: replace(slot, replicas=tuple(_back(r) for r in slot.replicas)) if slot.release and slot.running else slot
        for name, slot in seen.slots.items()
    }
    return replace(seen, slots=slots)


def _back(server: Replica) -> Replica:
    """Return a server as it is when it is back: what was warmed up was a process that is still there."""
    warm = server.warm and server.state is ServerState.READY
    return replace(server, state=ServerState.READY, warm=warm, restarts=0, reason=None)


def happened(world: Mapping[str, ObservedEndpoint], rollout: Rollout, step: Step) -> dict[str, ObservedEndpoint]:
    """Return the world after a step took effect: servers are ready at once, weights in force at once."""
    match step:
        case StartSlot(region=name, slot=slot, role=role, replicas=count):
            release = rollout.region(name).champion if role == "champion" else rollout.challenger
            weight = world[name].slots[slot].weight_pct
            started = ObservedSlot(release, _servers((), count), count, weight)
            return _with_slot(world, name, slot, started)
        case ScaleSlot(region=name, slot=slot, replicas=count):
            held = world[name].slots[slot]
            return _with_slot(world, name, slot, replace(held, replicas=_servers(held.replicas, count), wanted=count))
        case WarmSlot(region=name, slot=slot):
            held = world[name].slots[slot]
            return _with_slot(
                world, name, slot, replace(held, replicas=tuple(replace(r, warm=True) for r in held.replicas))
            )
        case StopSlot(region=name, slot=slot):
            return _with_slot(world, name, slot, ObservedSlot())
        case SetWeights(region=name, weights=weights):
            slots = {s: replace(world[name].slots.get(s, ObservedSlot()), weight_pct=w) for s, w in weights}
            return {**world, name: replace(world[name], slots={**world[name].slots, **slots}, gateway_problem=None)}
        case Publish(region=name, share_pct=share):
            prompts = wanted_prompts(rollout, rollout.region(name), share)
            return {**world, name: replace(world[name], prompts=prompts, pointer_problem=None)}
        case Remove(region=name):
            return {**world, name: ObservedEndpoint(world[name].address, {s: ObservedSlot() for s in SLOTS})}
        case _:
            return dict(world)


def _servers(there: tuple[Replica, ...], count: int) -> tuple[Replica, ...]:
    """Return `count` servers that are ready: those that are there, and new ones, which nobody has warmed up."""
    return there[:count] + tuple(Replica(str(n), ServerState.READY) for n in range(len(there), count))


def _with_slot(
    world: Mapping[str, ObservedEndpoint], region: str, slot: str, seen: ObservedSlot
) -> dict[str, ObservedEndpoint]:
    return {**world, region: replace(world[region], slots={**world[region].slots, slot: seen})}


def _passing(rollout: Rollout) -> Evidence:
    many = 10**6
    return Evidence(
        Verdict.PASS, "", Verdict.PASS, "", step_requests=many, step_challenger_requests=many, watched_s=many, looks=1
    )
