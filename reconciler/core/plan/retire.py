"""Slots that a promotion left warm: until when a rollback is a weight, and which are due to be emptied. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from environments.names import Address
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import REPAIR, Phase, RegionRollout, Rollout


@dataclass(frozen=True, order=True)
class KeptSlot:
    """A slot without traffic that holds the release which served before; `until_s` in epoch seconds."""

    address: Address
    slot: str
    release: str
    until_s: float


def has_idle_slot(observed: ObservedEndpoint) -> bool:
    """Say whether something lies in a slot without traffic while another slot serves."""
    idle = (s for s in observed.slots.values() if s.release is not None and s.weight_pct == 0)
    return observed.serving is not None and any(idle)


def kept_slot(observed: ObservedEndpoint, past: Sequence[Rollout], keep_warm_s: float) -> KeptSlot | None:
    """Return the slot that the newest promotion here (`past` is newest first) left warm; None without one.

    What no promotion is known to have left there is nobody's to empty: it may be somebody's experiment.
    """
    part = next((part for rollout in past if (part := _promoted(rollout, observed.address.region))), None)
    if part is None or part.champion is None or part.champion_slot is None:
        return None
    seen = observed.slots.get(part.champion_slot)
    if seen is None or seen.release_id != part.champion.id or seen.weight_pct > 0 or observed.serving is None:
        return None
    return KeptSlot(observed.address, part.champion_slot, part.champion.id, part.since + keep_warm_s)


def due(kept: Iterable[KeptSlot], now: float) -> Mapping[Address, KeptSlot]:
    """Return the slots whose time is over, by address."""
    return {each.address: each for each in kept if each.until_s <= now}


def slots_of(kept: Mapping[Address, KeptSlot]) -> Mapping[Address, str]:
    """Return the names of these slots by address."""
    return {address: each.slot for address, each in kept.items()}


def _promoted(rollout: Rollout, region: str) -> RegionRollout | None:
    """Return a region's part of a rollout that was promoted there; a repair moves nothing and leaves nothing."""
    parts = () if rollout.mode == REPAIR else rollout.regions
    return next((part for part in parts if part.region == region and part.phase is Phase.PROMOTED), None)
