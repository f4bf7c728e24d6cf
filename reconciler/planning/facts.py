"""Gather what policies know beyond the file: releases and their lineage, promotions elsewhere, guards, champions.

Reads stores; what cannot be read is a text that says why, so that a policy can say it too. Imports core, ports and
`policies.facts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from environments.names import Address
from environments.spec import EnvironmentSpec
from policies.catalog import levels_in_force
from policies.changes import guard_of
from policies.facts import ArtifactFacts, Champion, Facts, Guard, Promotion, ReleaseFacts
from reconciler.core.canonical import Json
from reconciler.core.events import GUARD
from reconciler.core.model.desired import references
from reconciler.core.model.observed import ObservedState
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.core.model.rollout import ROLLBACK, ROLLOUT, Intent, Phase, Rollout
from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.plan import World
from reconciler.ports import Store

Elsewhere = Callable[[str], Awaitable[Sequence[Rollout] | str]]
"""Returns the rollouts of another environment, newest first, or why nobody can read them."""

NEVER_RECORDED = "no release before has recorded it"


async def not_asked(environment: str) -> str:
    """Say that nobody reads other environments: for plans that are made without access to anything."""
    return f"this plan was made without a look into {environment}"


async def facts_for(
    world: World, changes: Iterable[Change], *, store: Store, elsewhere: Elsewhere, wanted: Iterable[str]
) -> Facts:
    """Return the facts about what `changes` move; `wanted` are the environments that policies ask about.

    Raises:
        SluiceError: the environment's own store cannot be read.
    """
    moving = sorted({c.address.endpoint for c in changes if c.action in (Action.CREATE, Action.ROLLOUT)})
    serving = sorted({c.address.endpoint for c in changes if c.action is Action.ROLLOUT})
    guards = await recorded_guards(store, world.spec.environment, serving)
    first = dict.fromkeys(name for name in moving if name not in serving)
    return Facts(
        releases=releases_of(world, moving),
        promotions={name: await _promotions(name, elsewhere) for name in sorted(wanted)} if moving else {},
        guards={**first, **guards},
        champions=champions_of(world.observed, changes),
    )


def releases_of(world: World, names: Iterable[str]) -> dict[str, ReleaseFacts]:
    """Return what is known of the releases that these endpoints declare."""
    found = {d.address.endpoint: d.release for d in world.desired.endpoints}
    return {name: _release(found[name], world.spec) for name in names if name in found}


def _release(release: Release, spec: EnvironmentSpec) -> ReleaseFacts:
    declared = spec.endpoints[release.endpoint]
    artifacts = {
        path: _artifact(release, path, kind, ref) for path, kind, ref in references(declared.release, declared.runtime)
    }
    return ReleaseFacts(id=release.id, artifacts=artifacts)


_NOBODY_LOOKED = "this build has not read what it is made of"


def _artifact(release: Release, path: str, kind: str, ref: str) -> ArtifactFacts:
    lineage = release.lineage.get(path, Lineage())
    known: dict[str, str] | str = _NOBODY_LOOKED if lineage.facts is None else dict(lineage.facts)
    return ArtifactFacts.model_validate(
        {
            "ref": ref,
            "kind": kind,
            "digest": _digest(release, path),
            "datasets": list(lineage.datasets),
            "known": known,
        }
    )


def _digest(release: Release, path: str) -> str:
    block, _, name = path.partition(".")
    found = getattr(release, block)
    one = found[name] if name else found
    return one.digest if isinstance(one, Artifact) else str(one["digest"])


async def _promotions(environment: str, elsewhere: Elsewhere) -> list[Promotion] | str:
    found = await elsewhere(environment)
    return found if isinstance(found, str) else promotions_of(found)


def promotions_of(rollouts: Sequence[Rollout]) -> list[Promotion]:
    """Return what was promoted, newest first, of rollouts newest first; repairs move nothing and are left out."""
    found = []
    by_endpoint: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if rollout.phase is Phase.PROMOTED and rollout.mode in (ROLLOUT, ROLLBACK):
            by_endpoint.setdefault(rollout.endpoint, []).append(rollout)
    for newest_first in by_endpoint.values():
        after: list[Rollout | None] = [None, *newest_first]
        pairs = zip(newest_first, after, strict=False)
        found += [_promotion(rollout, later) for rollout, later in pairs if rollout.mode == ROLLOUT]
    return sorted(found, key=lambda p: p.at, reverse=True)


def _promotion(rollout: Rollout, later: Rollout | None) -> Promotion:
    undone = later is not None and later.mode == ROLLBACK and later.challenger.id != rollout.challenger.id
    return Promotion(
        endpoint=rollout.endpoint,
        release=rollout.challenger.id,
        at=_moment(_promoted_at(rollout)),
        until=_moment(_promoted_at(later)) if later and later.challenger.id != rollout.challenger.id else None,
        gates=_verdicts(rollout),
        undone=undone,
        hand=rollout.intent is Intent.PROMOTE,
    )


def _verdicts(rollout: Rollout) -> dict[str, str]:
    """Return the worst verdict of each gate over all regions."""
    worst: dict[str, str] = {}
    for region in rollout.regions:
        for gate in region.gates:
            if gate.gate not in worst or worst[gate.gate] == "PASS":
                worst[gate.gate] = str(gate.verdict)
    return worst


def _promoted_at(rollout: Rollout) -> float:
    return max((region.since for region in rollout.regions), default=rollout.started_at)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def recorded_guards(store: Store, environment: str, names: Iterable[str]) -> dict[str, Guard | str | None]:
    """Return what guarded each endpoint when its last release began, as the ledger recorded it."""
    entries = {entry.address: entry.body for entry in await store.newest(environment, GUARD)}
    found: dict[str, Guard | str | None] = {}
    for name in names:
        body = entries.get(str(Address.everywhere(environment, name)))
        found[name] = NEVER_RECORDED if body is None else read_guard(body)
    return found


def read_guard(body: Json) -> Guard | str:
    """Return the guard in a ledger entry, or why it cannot be read."""
    try:
        return Guard.model_validate(body)
    except ValueError:
        return "a newer Sluice recorded it"


def declared_guard(spec: EnvironmentSpec, name: str) -> Guard | None:
    """Return what guards an endpoint as a file declares it; None for one that it does not have."""
    return guard_of(spec, name, levels_in_force(spec)) if name in spec.endpoints else None


def unread(facts: Facts, before: EnvironmentSpec | None) -> Facts:
    """Return the facts of a plan that read nothing live; with an earlier file, its guards in place of recorded ones."""
    champions: dict[str, Champion | str] = dict.fromkeys(facts.champions, "this plan read nothing that is live")
    known: dict[str, Guard | str | None] = (
        {name: declared_guard(before, name) for name in facts.guards} if before else {}
    )
    return facts.model_copy(update={"champions": champions, "guards": known or facts.guards})


def champions_of(observed: ObservedState, changes: Iterable[Change]) -> dict[str, Champion | str]:
    """Return what serves at each address that a rollout moves."""
    found: dict[str, Champion | str] = {}
    for change in changes:
        seen = observed.endpoints.get(change.address)
        serving = seen.slots.get(seen.serving) if seen and seen.serving else None
        if change.action is not Action.ROLLOUT or seen is None or serving is None:
            continue
        if serving.release is None:
            found[str(change.address)] = "its slot serves what nobody can name"
        else:
            found[str(change.address)] = Champion(
                release=serving.release.id, slot=str(seen.serving), ready=serving.ready, warm=serving.warm
            )
    return found
