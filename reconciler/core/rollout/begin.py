"""Begin a rollout, a repair or a rollback: choose slots and write down who is champion. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from environments.names import SLOTS, Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import REPAIR, ROLLBACK, ROLLOUT, RegionRollout, Rollout
from reconciler.core.model.settings import RolloutSettings


def empty_endpoint(address: Address) -> ObservedEndpoint:
    """Return an endpoint where nothing runs yet."""
    return ObservedEndpoint(address, {slot: ObservedSlot() for slot in SLOTS})


def challenger_slot(observed: ObservedEndpoint, release_id: str) -> str:
    """Return the slot for a challenger: where it is already, else an empty one, else one without weight."""
    serving = observed.serving
    free = [name for name in sorted(observed.slots) if name != serving]
    holding = [name for name in free if observed.slots[name].release_id == release_id]
    empty = [name for name in free if observed.slots[name].release is None]
    idle = [name for name in free if observed.slots[name].weight_pct == 0]
    return (holding + empty + idle + free)[0]


def new_rollout(
    id: str,
    desired: Sequence[DesiredEndpoint],
    observed: Mapping[Address, ObservedEndpoint],
    *,
    now: float,
    actor: str,
) -> Rollout:
    """Return the rollout that takes one endpoint's desired release to all regions in `desired` (at least one)."""
    first = desired[0]
    regions = []
    for each in sorted(desired, key=lambda d: (d.wave, d.address)):
        live = observed.get(each.address, empty_endpoint(each.address))
        regions.append(_region(each.address.region, each.wave, live, first.release, each.replicas))
    return Rollout(
        id=id,
        environment=first.address.environment,
        endpoint=first.address.endpoint,
        challenger=first.release,
        settings=first.settings,
        regions=tuple(regions),
        started_at=now,
        actor=actor,
        mode=ROLLOUT,
    )


def new_repair(
    id: str, desired: Sequence[DesiredEndpoint], observed: Mapping[Address, ObservedEndpoint], *, now: float, actor: str
) -> Rollout:
    """Return the rollout that makes regions serve what they already should: servers up, weights and prompts right."""
    rollout = new_rollout(id, desired, observed, now=now, actor=actor)
    regions = tuple(
        RegionRollout(
            r.region,
            0,
            _serving_slot(observed[rollout.address(r.region)], rollout.challenger.id, r.slot),
            replicas=r.replicas,
        )
        for r in rollout.regions
    )
    return replace(rollout, regions=regions, settings=_at_once(rollout.settings), mode=REPAIR)


def new_rollback(
    id: str,
    target: Release,
    settings: RolloutSettings,
    observed: Sequence[ObservedEndpoint],
    *,
    now: float,
    actor: str,
    reason: str,
) -> Rollout:
    """Return the rollout that flips the given endpoint's regions back to `target`, all of them at once."""
    first = observed[0].address
    return Rollout(
        id=id,
        environment=first.environment,
        endpoint=first.endpoint,
        challenger=target,
        settings=_at_once(settings),
        regions=tuple(_region(o.address.region, 0, o, target) for o in sorted(observed, key=lambda o: o.address)),
        started_at=now,
        actor=actor,
        reason=reason,
        mode=ROLLBACK,
    )


def retiring(rollout: Rollout, slots: Mapping[Address, str]) -> Rollout:
    """Return the repair that also empties these slots, by address."""
    regions = tuple(replace(r, retires=slots.get(rollout.address(r.region))) for r in rollout.regions)
    return replace(rollout, regions=regions)


def with_specs(rollout: Rollout, spec: EnvironmentSpec) -> Rollout:
    """Return the rollout with what the file says of its regions, so that they can be reached after it has changed.

    Where metrics come from is left out: it is not needed to go back, and its address may hold a credential.
    """
    regions = tuple(
        replace(r, spec=spec.regions[r.region].model_dump(mode="json", exclude={"prometheus"}))
        if r.region in spec.regions
        else r
        for r in rollout.regions
    )
    return replace(rollout, regions=regions)


def _at_once(settings: RolloutSettings) -> RolloutSettings:
    return replace(settings, strategy="blue_green", bake_s=0.0, gates={}, limits=(), slo={})


def _serving_slot(observed: ObservedEndpoint, release_id: str, fallback: str) -> str:
    return observed.slot_of(release_id) or fallback


def _region(name: str, wave: int, observed: ObservedEndpoint, challenger: Release, replicas: int = 1) -> RegionRollout:
    serving = observed.serving
    champion = observed.slots[serving].release if serving else None
    return RegionRollout(
        region=name,
        wave=wave,
        slot=challenger_slot(observed, challenger.id),
        champion_slot=serving if champion else None,
        champion=champion,
        replicas=max(replicas, observed.slots[serving].wanted if serving else 0),
    )
