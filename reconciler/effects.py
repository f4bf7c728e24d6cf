"""Carry out one step through the ports. Imports ports and the core; only the loop calls it, with a lease's token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from environments.errors import SluiceError
from environments.refs import parse_ref
from reconciler.core.next_steps import wanted_prompts
from reconciler.core.observed import ObservedEndpoint
from reconciler.core.release import Release
from reconciler.core.rollout import GateResult, RegionRollout, Rollout
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
from reconciler.counters import read_counters
from reconciler.ports import GateContext, GateProgress, PromptSplit, SlotAddress, SlotCounts, untold
from reconciler.region import Region, Workshop


@dataclass(frozen=True)
class Effect:
    """One step to carry out: the rollout it belongs to, what was live when it was decided, and the lease's token.

    `tell` is given where a gate stands while it is asked.
    """

    step: Step
    rollout: Rollout
    observed: Mapping[str, ObservedEndpoint]
    fence: int
    tell: Callable[[GateProgress], None] = untold


async def carry_out(effect: Effect, shop: Workshop) -> GateResult | None:
    """Do what the step says, and return what a gate found; for every other step None.

    Each effect may be carried out again with the same result.
    """
    rollout, fence = effect.rollout, effect.fence
    match effect.step:
        case StartSlot(region=name, slot=slot, role=role):
            part = rollout.region(name)
            release = part.champion if role == "champion" and part.champion else rollout.challenger
            await shop.regions[name].writer.start(_slot(rollout, name, slot), release, fence=fence)
        case WarmSlot(region=name, slot=slot, requests=requests):
            await _warm(effect, shop.regions[name], slot, requests)
        case RunGate(region=name, gate=gate):
            return await _ask(effect, shop, rollout.region(name), gate)
        case Publish(region=name, share_pct=share):
            splits = _splits(rollout, rollout.region(name), share)
            await shop.regions[name].pointers.publish(rollout.endpoint, splits, fence=fence)
        case Weigh(region=name, weights=weights):
            await shop.regions[name].writer.weigh(rollout.address(name), dict(weights), fence=fence)
        case StopSlot(region=name, slot=slot):
            await shop.regions[name].writer.stop(_slot(rollout, name, slot), fence=fence)
        case Remove(region=name):
            await shop.regions[name].pointers.publish(rollout.endpoint, (), fence=fence)
            await shop.regions[name].writer.remove(rollout.address(name), fence=fence)
        case Mark(ref=ref, alias=alias):
            await shop.registry.mark(parse_ref(ref), alias, kind="model")
        case Enter() | Note() | Pause() | Finish() | Await():
            raise TypeError(f"{effect.step} changes nothing live")
    return None


def _slot(rollout: Rollout, region: str, slot: str) -> SlotAddress:
    return SlotAddress(rollout.address(region), slot)


async def _warm(effect: Effect, region: Region, slot: str, requests: int) -> None:
    seen = effect.observed[region.name].slots[slot]
    runtime = region.runtimes[effect.rollout.settings.runtime]
    await runtime.warm(seen.url or "", effect.rollout.challenger, requests)
    await region.writer.mark_warm(_slot(effect.rollout, region.name, slot), fence=effect.fence)


async def _ask(effect: Effect, shop: Workshop, part: RegionRollout, gate: str) -> GateResult:
    """Ask a gate; a gate that breaks or is not there is an ERROR, never a pass."""
    asked = shop.gates.get(gate)
    if asked is None:
        return GateResult(gate, Verdict.ERROR, f"this build has no gate `{gate}`")
    rollout, slots = effect.rollout, effect.observed[part.region].slots
    champion = slots.get(part.champion_slot or "")
    context = GateContext(
        address=rollout.address(part.region),
        rollout=rollout.id,
        challenger=rollout.challenger,
        challenger_url=slots[part.slot].url or "",
        champion=part.champion,
        champion_url=champion.url if champion else None,
        settings=rollout.settings.gates[gate] | {"slo": rollout.settings.slo},
        root=shop.root,
        reports=shop.reports,
        live=partial(_live, shop.regions[part.region], effect, part),
        progress=effect.tell,
    )
    try:
        found = await asked.evidence(context)
    except SluiceError as error:
        return GateResult(gate, Verdict.ERROR, f"{error.code}: {error.problem.what}")
    except Exception as error:  # noqa: BLE001 - whatever breaks inside a gate is an ERROR: retried, then a pause
        return GateResult(gate, Verdict.ERROR, f"GATE-004: the gate broke: {type(error).__name__}: {error}")
    return GateResult(gate, Verdict(found.verdict), found.sentence, figures=found.figures, links=found.links)


async def _live(region: Region, effect: Effect, part: RegionRollout) -> SlotCounts | None:
    """Read the champion's counters; None without a champion."""
    counters = await read_counters(region, effect.rollout.settings.runtime, effect.observed[part.region])
    return counters.get(part.champion_slot or "")


def _splits(rollout: Rollout, part: RegionRollout, share_pct: float) -> list[PromptSplit]:
    releases: dict[str, Release] = {rollout.challenger.id: rollout.challenger}
    if part.champion:
        releases.setdefault(part.champion.id, part.champion)
    return [
        PromptSplit(
            endpoint=rollout.endpoint,
            prompt=prompt,
            variants=tuple((id, releases[id].prompt_texts.get(prompt, ""), share) for id, share in variants),
            seed=rollout.id,
        )
        for prompt, variants in wanted_prompts(rollout, part, share_pct).items()
    ]
