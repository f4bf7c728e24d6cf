"""The ticks that a rollout left in the store, for whoever judges or learns from them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.model.rollout import Phase
from reconciler.ports import Store


@dataclass(frozen=True)
class Wanted:
    """Whose ticks: of an endpoint, in one region or the only one that has any, of one rollout or the newest one."""

    environment: str
    endpoint: str
    region: str | None = None
    rollout: str | None = None


@dataclass(frozen=True)
class Recorded:
    """The ticks of one rollout in one region, as JSON, in order."""

    rollout: str
    region: str
    ticks: tuple[Json, ...]


async def recorded_ticks(store: Store, wanted: Wanted) -> Recorded:
    """Return the ticks that are wanted, of the newest rollout that has any.

    Raises:
        SluiceError: `JUDGE-011` there are none; `JUDGE-013` several regions have some and none was named.
    """
    found = await _newest(store, wanted, lambda body: True)
    if not found:
        raise SluiceError(
            "JUDGE-011",
            where=f"{wanted.environment}/{wanted.region or '*'}/{wanted.endpoint}",
            what=f"no ticks are recorded of {wanted.rollout or 'any rollout'}",
            why="ticks are recorded while a canary is judged, and kept for the newest rollouts",
            do="name another --rollout or --region, or roll a release out",
        )
    if len(found) > 1:
        names = ", ".join(each.region for each in found)
        raise SluiceError(
            "JUDGE-013",
            where=f"{wanted.environment}/*/{wanted.endpoint}",
            what=f"{found[0].rollout} has ticks in {len(found)} regions: {names}",
            why="a file of ticks is of one region",
            do="name one with --region",
        )
    return found[0]


async def promoted_ticks(store: Store, wanted: Wanted) -> Recorded:
    """Return the ticks of the newest rollout that was promoted, in the first region that has any.

    Raises:
        SluiceError: `JUDGE-009` there are none.
    """
    found = await _newest(store, wanted, lambda body: body["phase"] == Phase.PROMOTED)
    if not found:
        told = "a rollout that was promoted" if wanted.rollout is None else wanted.rollout
        raise SluiceError(
            "JUDGE-009",
            where=f"{wanted.environment}/*/{wanted.endpoint}",
            what=f"no ticks are recorded of {told}",
            why="noise is measured on ticks of two releases that are as good as one another",
            do="promote a release, such as the same model under a new engine argument, or name --rollout",
        )
    return found[0]


async def _newest(store: Store, wanted: Wanted, chosen: Callable[[Json], bool]) -> list[Recorded]:
    """Return what the newest fitting rollout recorded, one a region that has any ticks."""
    for each in await store.rollouts(wanted.environment, endpoint=wanted.endpoint):
        fits = each.id == wanted.rollout if wanted.rollout else chosen(each.body)
        if not fits:
            continue
        found = []
        for name in [wanted.region] if wanted.region else [part["region"] for part in each.body["regions"]]:
            ticks = await store.ticks(each.id, name)
            if ticks:
                found.append(Recorded(each.id, name, tuple(body["tick"] for body in ticks)))
        if found:
            return found
    return []
