"""Carry out one effect through the ports, with a lease's token: the one place that changes anything live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from environments.errors import SluiceError
from environments.refs import parse_ref
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ServerState
from reconciler.core.model.rollout import GateResult, RegionRollout, Rollout
from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import (
    Effect,
    Publish,
    Remove,
    RunGate,
    ScaleSlot,
    SetAlias,
    SetWeights,
    StartSlot,
    StopSlot,
    WarmSlot,
)
from reconciler.core.rollout.traffic_split import drawn_releases
from reconciler.evidence.counters import read_counters
from reconciler.ports import (
    DrawnRelease,
    GateContext,
    GateProgress,
    InProgress,
    KeepsReplicas,
    ReleaseSplit,
    SlotAddress,
    SlotCounts,
    untold,
)
from reconciler.ports.adapters import Adapters, Region


@dataclass(frozen=True)
class Doing:
    """An effect on its way: the rollout it belongs to, its region as it was seen, and the lease's token.

    `alpha` is a gate's share of the rollout's; `tell` is given where it stands while it is asked.
    """

    rollout: Rollout
    seen: ObservedEndpoint | None
    fence: int
    alpha: float = 0.01
    tell: Callable[[GateProgress], None] = untold


async def carry_out(step: Effect, doing: Doing, adapters: Adapters) -> GateResult | InProgress | None:
    """Do what the step says; return what a gate found, what is in force only later, and None when all is done.

    Each effect may be carried out again with the same result.
    """
    rollout, fence = doing.rollout, doing.fence
    match step:
        case StartSlot(region=name, slot=slot, role=role, replicas=count):
            part = rollout.region(name)
            release = part.champion if role == "champion" and part.champion else rollout.challenger
            writer, place = adapters.regions[name].writer, _slot(rollout, name, slot)
            return await writer.start(place, release, fence=fence, replicas=count)
        case ScaleSlot(region=name, slot=slot, replicas=count):
            return await _scale(doing, adapters.regions[name], slot, count)
        case WarmSlot(region=name, slot=slot, requests=requests):
            return await _warm(doing, adapters.regions[name], slot, requests)
        case RunGate(region=name, gate=gate):
            return await _ask(doing, adapters, rollout.region(name), gate)
        case Publish(region=name, share_pct=share):
            split = _split(rollout, rollout.region(name), share)
            await adapters.regions[name].pointers.publish(rollout.endpoint, split, fence=fence)
        case SetWeights(region=name, weights=weights):
            return await adapters.regions[name].writer.weigh(rollout.address(name), dict(weights), fence=fence)
        case StopSlot(region=name, slot=slot):
            return await adapters.regions[name].writer.stop(_slot(rollout, name, slot), fence=fence)
        case Remove(region=name):
            await adapters.regions[name].pointers.publish(rollout.endpoint, None, fence=fence)
            return await adapters.regions[name].writer.remove(rollout.address(name), fence=fence)
        case SetAlias(ref=ref, aliases=aliases):
            for alias in aliases:
                await adapters.registry.mark(parse_ref(ref), alias, kind="model")
        case _:
            assert_never(step)
    return None


def _slot(rollout: Rollout, region: str, slot: str) -> SlotAddress:
    return SlotAddress(rollout.address(region), slot)


def _observed(doing: Doing, slot: str) -> ObservedSlot:
    return doing.seen.slots.get(slot, ObservedSlot()) if doing.seen else ObservedSlot()


async def _scale(doing: Doing, region: Region, slot: str, replicas: int) -> InProgress | None:
    """Scale a slot.

    Raises:
        SluiceError: `ROLL-011` its platform keeps one server in each.
    """
    if isinstance(region.writer, KeepsReplicas):
        return await region.writer.scale(_slot(doing.rollout, region.name, slot), replicas, fence=doing.fence)
    raise SluiceError(
        "ROLL-011",
        where=f"{doing.rollout.address(region.name)}/{slot}",
        what=f"the slot cannot have {replicas} servers",
        why="its platform keeps one server in each slot",
        do="declare `replicas: {min: 1}` for this region, or another platform",
    )


async def _warm(doing: Doing, region: Region, slot: str, requests: int) -> InProgress | None:
    """Warm up every server of a slot that is not warm yet; through the slot's address where they have none."""
    runtime, seen = region.runtimes[doing.rollout.settings.runtime], _observed(doing, slot)
    cold = [r.url for r in seen.replicas if r.state is ServerState.READY and r.url and not r.warm]
    for url in cold or [seen.url or ""]:
        await runtime.warm(url, doing.rollout.challenger, requests)
    return await region.writer.mark_warm(_slot(doing.rollout, region.name, slot), fence=doing.fence)


async def _ask(doing: Doing, adapters: Adapters, part: RegionRollout, gate: str) -> GateResult:
    """Ask a gate; a gate that breaks or is not there is an ERROR, never a pass."""
    asked = adapters.gates.get(gate)
    if asked is None:
        return GateResult(gate, Verdict.ERROR, f"this build has no gate `{gate}`")
    rollout = doing.rollout
    context = GateContext(
        address=rollout.address(part.region),
        rollout=rollout.id,
        challenger=rollout.challenger,
        challenger_url=_observed(doing, part.slot).url or "",
        challenger_servers=_observed(doing, part.slot).ready_count,
        champion=part.champion,
        champion_url=_observed(doing, part.champion_slot).url if part.champion_slot else None,
        settings=rollout.settings.gates[gate] | {"slo": rollout.settings.slo},
        root=adapters.root,
        reports=adapters.reports,
        live=partial(_live, adapters.regions[part.region], doing, part),
        alpha=doing.alpha,
        progress=doing.tell,
    )
    try:
        found = await asked.evidence(context)
    except SluiceError as error:
        return GateResult(gate, Verdict.ERROR, f"{error.code}: {error.problem.what}")
    except Exception as error:  # noqa: BLE001 - whatever breaks inside a gate is an ERROR: retried, then a pause
        return GateResult(gate, Verdict.ERROR, f"GATE-004: the gate broke: {type(error).__name__}: {error}")
    return GateResult(gate, Verdict(found.verdict), found.sentence, figures=found.figures, links=found.links)


async def _live(region: Region, doing: Doing, part: RegionRollout) -> SlotCounts | None:
    """Read the champion's counters; None without a champion."""
    if doing.seen is None:
        return None
    counters = await read_counters(region, doing.rollout.settings.runtime, doing.seen)
    return counters.get(part.champion_slot or "")


def _split(rollout: Rollout, part: RegionRollout, share_pct: float) -> ReleaseSplit | None:
    """Return the draw between challenger and champion; None when neither brings a prompt."""
    drawn = [
        DrawnRelease(release.id, pct, {name: release.prompt_texts.get(name, "") for name in release.prompts})
        for release, pct in drawn_releases(rollout, part, share_pct)
    ]
    if not any(each.prompts for each in drawn):
        return None
    return ReleaseSplit(rollout.endpoint, tuple(drawn), seed=rollout.id)
