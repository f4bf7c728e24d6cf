"""Compare desired and observed state: one change for each address, sorted. Pure and linear in the endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from environments.names import Address
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import Rollout
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy
from reconciler.core.plan.retire import KeptSlot
from reconciler.core.rollout.begin import empty_endpoint


def diff(
    desired: DesiredState,
    observed: ObservedState,
    active: Mapping[str, Rollout] | None = None,
    retiring: Mapping[Address, KeptSlot] = MappingProxyType({}),
) -> tuple[Change, ...]:
    """Return what differs, sorted by address, with `none` for endpoints that are as they should be.

    `active` holds the rollouts in flight by endpoint: an address on its way is a `rollout`, whatever its weights are.
    `retiring` are the slots that are due to be emptied.
    `observed` must be narrowed in the same way as `desired`, or what was narrowed away would look removed.
    """
    changes = [
        _change(each, observed.endpoints.get(each.address) or empty_endpoint(each.address), active or {}, retiring)
        for each in desired.endpoints
    ]
    wanted = {each.address for each in desired.endpoints}
    gone = [e for address, e in observed.endpoints.items() if address not in wanted and not _is_empty(e)]
    return tuple(sorted([*changes, *(_removal(e) for e in gone)], key=lambda c: c.address))


def _change(
    desired: DesiredEndpoint,
    observed: ObservedEndpoint,
    active: Mapping[str, Rollout],
    retiring: Mapping[Address, KeptSlot],
) -> Change:
    rollout = active.get(desired.address.endpoint)
    if rollout and any(r.region == desired.address.region for r in rollout.regions):
        return _in_flight(desired, observed, rollout)
    serving = observed.serving
    live = observed.slots[serving].release if serving else None
    if serving is None:
        fields = _fields(None, desired.release)
        return _made(desired, Action.CREATE, fields, _moves_by(desired, observed))
    if live and live.id == desired.release.id:
        return _repair(desired, observed, serving, retiring.get(desired.address))
    return _made(desired, Action.ROLLOUT, _fields(live, desired.release), _moves_by(desired, observed))


def _in_flight(desired: DesiredEndpoint, observed: ObservedEndpoint, rollout: Rollout) -> Change:
    fields = [FieldChange("rollout", f"{rollout.id} {rollout.phase}", "promoted")]
    if rollout.challenger.id != desired.release.id:
        fields = [FieldChange("rollout", f"{rollout.id} {rollout.phase}", "rolled_back: the file has moved on")]
    serving = observed.serving
    live = observed.slots[serving].release if serving else None
    if not (live and live.id == desired.release.id):
        fields += _fields(live, desired.release)
    return _made(desired, Action.ROLLOUT, tuple(fields), _moves_by(desired, observed))


def _repair(desired: DesiredEndpoint, observed: ObservedEndpoint, serving: str, retiring: KeptSlot | None) -> Change:
    slot, fields, moves = observed.slots[serving], [], MovesBy.POINTER
    wanted = {name: [[desired.release.id, 100.0]] for name in desired.release.prompts}
    published = {name: [list(v) for v in variants] for name, variants in observed.prompts.items()}
    for name in sorted({*wanted, *published}):
        if wanted.get(name) != published.get(name):
            fields.append(FieldChange(f"prompts.{name}", _split(published.get(name)), _split(wanted.get(name))))
    for name, weight in observed.weights.items():
        if weight != (100.0 if name == serving else 0.0):
            fields.append(FieldChange(f"slots.{name}.weight_pct", f"{weight:g}", "100" if name == serving else "0"))
            moves = MovesBy.WEIGHT
    if observed.gateway_problem:
        fields.append(FieldChange("gateway", observed.gateway_problem, "serving"))
        moves = MovesBy.WEIGHT
    if not slot.ready:
        fields.append(FieldChange(f"slots.{serving}.ready", slot.problem or "not ready", "ready"))
        moves = MovesBy.COLD_LOAD
    if retiring:
        moves = moves if fields else MovesBy.RETIRE
        fields.append(FieldChange(f"slots.{retiring.slot}.release", retiring.release, None))
    action = Action.UPDATE if fields else Action.NONE
    return _made(desired, action, tuple(sorted(fields)), moves if fields else MovesBy.POINTER)


def _split(variants: list[list[object]] | None) -> str | None:
    return None if variants is None else ", ".join(f"{release} {share:g} %" for release, share in variants)


def _moves_by(desired: DesiredEndpoint, observed: ObservedEndpoint) -> MovesBy:
    holding = [s for s in observed.slots.values() if s.release_id == desired.release.id and s.running and not s.fatal]
    if any(s.ready and s.warm for s in holding):
        return MovesBy.WEIGHT
    return MovesBy.WARM_LOAD if any(s.ready for s in holding) else MovesBy.COLD_LOAD


def _made(desired: DesiredEndpoint, action: Action, fields: tuple[FieldChange, ...], moves_by: MovesBy) -> Change:
    return Change(desired.address, action, fields, moves_by, desired.release.id)


def _removal(observed: ObservedEndpoint) -> Change:
    serving = observed.serving
    live = observed.slots[serving].release if serving else None
    fields = _fields(live, None) or (FieldChange("endpoint", "present", None),)
    return Change(observed.address, Action.REMOVE, fields, MovesBy.WEIGHT, None)


def _fields(before: Release | None, after: Release | None) -> tuple[FieldChange, ...]:
    old, new = before.fields() if before else {}, after.fields() if after else {}
    return tuple(
        FieldChange(path, old.get(path), new.get(path))
        for path in sorted({*old, *new})
        if old.get(path) != new.get(path)
    )


def _is_empty(observed: ObservedEndpoint) -> bool:
    return not observed.prompts and all(s.release is None and s.weight_pct == 0 for s in observed.slots.values())


def narrowed(observed: ObservedState, endpoints: frozenset[str], regions: frozenset[str]) -> ObservedState:
    """Return the part of what was read that `--endpoint` and `--region` leave; an empty set leaves all."""

    def kept(address: Address) -> bool:
        return (not endpoints or address.endpoint in endpoints) and (not regions or address.region in regions)

    return ObservedState({a: e for a, e in observed.endpoints.items() if kept(a)}, observed.unreachable)
