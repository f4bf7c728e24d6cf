"""Which steps a plan lists, in which order: the way that a rollout goes when nothing gets in its way. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredEndpoint
from reconciler.core.model.rollout import Intent, Phase, Rollout
from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.retire import slots_of
from reconciler.core.rollout.begin import empty_endpoint, new_repair, new_rollout, retiring
from reconciler.core.rollout.ideal import ideal_run
from reconciler.core.rollout.operator import aborted, resumed
from reconciler.core.rollout.steps import Enter, Finish, Publish, SetAlias, SetWeights, Step, step_kind

if TYPE_CHECKING:
    from reconciler.core.plan.plan import World


@dataclass(frozen=True)
class PlannedStep:
    """One step as a plan lists it. `weight_pct` is the challenger's, None where a step moves no traffic."""

    id: str
    kind: str
    address: str
    wave: int
    weight_pct: float | None = None

    def to_json(self) -> Json:
        """Return the step as `plan --json` shows it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "address": self.address,
            "wave": self.wave,
            "weight_pct": self.weight_pct,
        }


def planned_steps(world: World, changes: Sequence[Change]) -> list[PlannedStep]:
    """Return the steps of all changes, an endpoint after the other; removals first, for they have one step."""
    wanted: dict[tuple[str, Action], list[DesiredEndpoint]] = defaultdict(list)
    by_address = {d.address: d for d in world.desired.endpoints}
    planned = []
    for change in changes:
        if change.action in (Action.CREATE, Action.ROLLOUT, Action.UPDATE):
            kind = Action.UPDATE if change.action is Action.UPDATE else Action.ROLLOUT
            wanted[change.address.endpoint, kind].append(by_address[change.address])
        elif change.action is Action.REMOVE:
            planned.append(PlannedStep(f"{change.address.endpoint}/00-remove", "remove", str(change.address), 0))
    for (_, kind), group in sorted(wanted.items()):
        planned += _steps_of(world, kind, group)
    return planned


def _steps_of(world: World, kind: Action, group: Sequence[DesiredEndpoint]) -> list[PlannedStep]:
    endpoint = group[0].address.endpoint
    live = {a.region: seen for a, seen in world.observed.endpoints.items() if a.endpoint == endpoint}
    planned: list[PlannedStep] = []
    rollout = world.active.get(endpoint)
    if rollout and rollout.challenger.id != group[0].release.id:
        back, after_it = ideal_run(aborted(rollout, "superseded"), live)
        planned, live, rollout = _listed(rollout, back, 1), {**live, **after_it}, None
    if rollout is None:
        begin = new_repair if kind is Action.UPDATE else new_rollout
        found = {d.address: live.get(d.address.region, empty_endpoint(d.address)) for d in group}
        rollout = begin("planned", group, found, now=0.0, actor="")
        if kind is Action.UPDATE:
            rollout = retiring(rollout, slots_of(world.retiring))
    elif (rollout.phase is Phase.PAUSED or rollout.intent is Intent.PAUSE) and not rollout.falling_back:
        rollout = resumed(rollout, rollout.started_at)
    return planned + _listed(rollout, ideal_run(rollout, live)[0], len(planned) + 1)


def _listed(rollout: Rollout, steps: Sequence[Step], first: int) -> list[PlannedStep]:
    told = [(kind, step) for step in steps for kind in _kinds(rollout, step)]
    return [_planned(rollout, kind, number, step) for number, (kind, step) in enumerate(told, start=first)]


def _kinds(rollout: Rollout, step: Step) -> tuple[str, ...]:
    """Return what a plan lists for a step; the bake is named where it ends, after the weight that it watches."""
    match step:
        case Enter(phase=Phase.PROMOTED):
            return ("bake", "promote") if rollout.settings.bake_s > 0 else ("promote",)
        case Enter():
            return ()
        case _:
            return (step_kind(step),)


def _planned(rollout: Rollout, kind: str, number: int, step: Step) -> PlannedStep:
    id = f"{rollout.endpoint}/{number:02d}-{kind}"
    if isinstance(step, SetAlias | Finish):
        return PlannedStep(
            id, kind, f"{rollout.environment}/*/{rollout.endpoint}", max(r.wave for r in rollout.regions)
        )
    weight = (
        step.challenger_pct if isinstance(step, SetWeights) else step.share_pct if isinstance(step, Publish) else None
    )
    return PlannedStep(id, kind, str(rollout.address(step.region)), rollout.region(step.region).wave, weight)
