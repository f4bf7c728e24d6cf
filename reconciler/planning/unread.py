"""Plans without a look at what is live: against another revision of the file, or what the ledger last recorded.

Reviewers see what a change means where nobody may reach a cluster. Nothing of it can be applied.
"""

from __future__ import annotations

from dataclasses import replace

from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredState, desired_state
from reconciler.core.model.observed import ObservedState
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import rollout_from_json
from reconciler.core.plan.diff import narrowed
from reconciler.core.plan.plan import Plan, Scope, World, changes_of, make_plan
from reconciler.core.plan.supposed import as_declared, as_recorded
from reconciler.core.times import timestamp
from reconciler.planning.facts import unread
from reconciler.planning.history import recall
from reconciler.planning.planner import Planner, check_scope

RECORDED = "what the ledger last recorded"


async def plan_against(planner: Planner, before: Planner | None, scope: Scope, *, name: str, now: float) -> Plan:
    """Return the plan from what `before` declares to what `planner` does; None is a file that was not there.

    Raises:
        SluiceError: `PLAN-004`, and those of files that references and gates name.
    """
    supposed = ObservedState() if before is None else as_declared(await declared(before))
    earlier = before.loaded.spec if before else None
    return await _plan(planner, supposed, scope, compared_with=name, now=now, before=earlier)


async def plan_recorded(planner: Planner, scope: Scope, *, now: float) -> Plan:
    """Return the plan from the facts that the ledger recorded last, endpoint by endpoint.

    Raises:
        SluiceError: `PLAN-004`, `PLAN-008`, and those of the store.
    """
    environment = planner.loaded.spec.environment
    recalled = await recall(planner.store, environment)
    past = [rollout_from_json(stored.body) for stored in await planner.store.rollouts(environment)]
    releases: dict[str, Release] = {}
    for rollout in past:
        champions = [part.champion for part in rollout.regions if part.champion]
        releases |= {release.id: release for release in (rollout.challenger, *champions)}
    return await _plan(planner, as_recorded(recalled.facts, releases), scope, compared_with=RECORDED, now=now)


async def declared(planner: Planner) -> DesiredState:
    """Return everything that a file declares in regions that this build has an adapter for."""
    spec = planner.loaded.spec
    releases, _ = await planner.releases(list(spec.endpoints))
    desired = desired_state(spec, releases)
    here = tuple(planner.with_replicas(d) for d in desired.endpoints if d.address.region in planner.readers)
    return replace(desired, endpoints=here)


async def _plan(
    planner: Planner,
    supposed: ObservedState,
    scope: Scope,
    *,
    compared_with: str,
    now: float,
    before: EnvironmentSpec | None = None,
) -> Plan:
    spec = planner.loaded.spec
    check_scope(spec, scope)
    desired = await declared(planner)
    here = tuple(d for d in desired.endpoints if scope.leaves(d.address))
    gaps = tuple(why for region, why in planner.gaps.items() if not scope.regions or region in scope.regions)
    world = World(
        spec=spec,
        desired=replace(desired, endpoints=here),
        observed=narrowed(supposed, frozenset(scope.endpoints), frozenset(scope.regions)),
        active={},
        gaps=gaps,
        scope=scope,
        prices=planner.prices,
        wanted={d.address.endpoint: d.release.id for d in desired.endpoints},
    )
    changes = changes_of(world)
    world = replace(world, gate_digests=planner.gate_digests(changes))
    facts = unread(await planner.facts(world, changes), before)
    findings = planner.judged(world, changes, now=now, facts=facts)
    return replace(make_plan(world, changes, findings, timestamp(now)), compared_with=compared_with)
