"""What `status --json` says, from live state and rollouts in flight. Pure; the shape is the contract's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.rollout import Rollout
from reconciler.core.plan.retire import KeptSlot
from reconciler.core.rollout.begin import empty_endpoint
from reconciler.core.times import timestamp


def status_json(
    environment: str,
    declared: Sequence[Address],
    live: ObservedState,
    *,
    active: Mapping[str, Rollout],
    owners: Mapping[str, str | None],
    gaps: Sequence[str],
    urls: Mapping[Address, str] = MappingProxyType({}),
    kept: Sequence[KeptSlot] = (),
) -> Json:
    """Return the status of every endpoint that is declared or live, sorted by address."""
    addresses = sorted({*live.endpoints, *declared})
    warm = {each.address: each for each in kept}
    endpoints = [
        _endpoint(live.endpoints.get(a) or empty_endpoint(a), active, owners, warm.get(a)) | {"url": urls.get(a)}
        for a in addresses
    ]
    return {"environment": environment, "endpoints": endpoints, "gaps": list(gaps)}


def _endpoint(
    seen: ObservedEndpoint,
    active: Mapping[str, Rollout],
    owners: Mapping[str, str | None],
    kept: KeptSlot | None,
) -> Json:
    serving = seen.serving
    rollout = active.get(seen.address.endpoint)
    return {
        "address": str(seen.address),
        "serving": seen.slots[serving].release_id if serving else None,
        "slots": {
            name: {
                "release": slot.release_id,
                "weight_pct": slot.weight_pct,
                "ready": slot.ready,
                "warm": slot.warm,
                "problem": slot.problem,
                "replicas": {"wanted": slot.wanted, "ready": slot.ready_count},
                "warm_until": timestamp(kept.until_s) if kept and kept.slot == name else None,
            }
            for name, slot in sorted(seen.slots.items())
        },
        "prompts": {name: _prompt(seen, name) for name in sorted(seen.prompts)},
        "gateway_problem": seen.gateway_problem,
        "rollout": _rollout(rollout, seen, owners) if rollout else None,
    }


def _prompt(seen: ObservedEndpoint, name: str) -> Json:
    """Return the reference that most users get; releases with one and the same prompt are one share."""
    shares: dict[str, float] = {}
    for release, share in seen.prompts[name]:
        slot = seen.slot_of(release)
        held = seen.slots[slot].release if slot else None
        ref = held.prompts[name].ref if held and name in held.prompts else release
        shares[ref] = shares.get(ref, 0.0) + share
    ref = max(shares, key=lambda each: shares[each])
    return {"ref": ref, "weight_pct": shares[ref]}


def _rollout(rollout: Rollout, seen: ObservedEndpoint, owners: Mapping[str, str | None]) -> Json | None:
    part = next((r for r in rollout.regions if r.region == seen.address.region), None)
    if part is None:
        return None
    return {
        "id": rollout.id,
        "release": rollout.challenger.id,
        "phase": "paused" if rollout.phase == "paused" else str(part.phase),
        "step": part.step,
        "weight_pct": seen.weights.get(part.slot, 0.0),
        "verdict": str(part.verdict) if part.verdict else None,
        "reason": part.reason or rollout.reason,
        "owner": owners.get(rollout.endpoint),
        "reports": [link for gate in part.gates for link in gate.links],
        "started_at": rollout.started_at,
    }
