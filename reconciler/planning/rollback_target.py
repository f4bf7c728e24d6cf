"""Find the release to go back to, and begin the rollout that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from environments.errors import SluiceError, nearest
from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import ROLLBACK, ROLLOUT, Phase, Rollout, rollout_from_json
from reconciler.core.model.settings import RolloutSettings, settings_of
from reconciler.core.plan.plan import Scope
from reconciler.core.rollout.begin import new_rollback
from reconciler.planning.planner import Planner
from reconciler.ports import Store


async def live_groups(planner: Planner, scope: Scope) -> dict[str, list[ObservedEndpoint]]:
    """Return what serves now, grouped by endpoint.

    Raises:
        SluiceError: `ROLL-003` nothing serves there.
    """
    groups: dict[str, list[ObservedEndpoint]] = {}
    for address, seen in sorted((await planner.live(scope)).endpoints.items()):
        if seen.serving:
            groups.setdefault(address.endpoint, []).append(seen)
    if not groups:
        raise SluiceError(
            "ROLL-003", where=planner.loaded.spec.environment, what="nothing serves that could be rolled back"
        )
    return groups


async def begin_rollback(
    store: Store, live: Sequence[ObservedEndpoint], to: str | None, reason: str, actor: str, spec: EnvironmentSpec
) -> Callable[[str, float], Rollout]:
    """Return what makes the rollout back to `to`, or to the release that served before the present one.

    Raises:
        SluiceError: `ROLL-004` there is none to go back to.
    """
    address = live[0].address
    stored = await store.rollouts(address.environment, endpoint=address.endpoint, limit=500)
    past = [rollout_from_json(s.body) for s in stored]
    serving = live[0].slots[live[0].serving or ""].release_id
    undone = None if to else _undone(past, serving)
    target = _named(past, to, live) if to else None if undone else _before(past, serving)
    if target is None:
        raise _nowhere(address, past, to=to, serving=serving, undone=undone)
    settings = (
        settings_of(spec.endpoints[address.endpoint]) if address.endpoint in spec.endpoints else RolloutSettings()
    )

    def begin(id: str, now: float) -> Rollout:
        return new_rollback(id, target, settings, live, now=now, actor=actor, reason=reason)

    return begin


def _undone(past: Sequence[Rollout], serving: str | None) -> Rollout | None:
    """Return the rollback that brought the serving release back, if that was the last thing that happened here."""
    latest = next((r for r in past if r.ended), None)
    undoes = latest is not None and latest.mode == ROLLBACK and latest.phase is Phase.PROMOTED
    return latest if undoes and latest and latest.challenger.id == serving else None


def _nowhere(
    address: Address, past: Sequence[Rollout], *, to: str | None, serving: str | None, undone: Rollout | None
) -> SluiceError:
    known = sorted({r.challenger.id for r in past})
    what = f"there is no release {to}" if to else f"no release served here before {serving}"
    why = "a rollback returns to a release that was promoted before"
    do = f"sluice history {address.environment} ({nearest(to or '', known)})"
    if undone:
        what = f"{serving} serves because it was rolled back to already ({undone.id}: {undone.reason})"
        why = "going back once more, to a release older still, is said and not guessed"
        others = [id for id in known if id != serving]
        do = f"name the release with --to ({', '.join(others)})" if others else do
    return SluiceError("ROLL-004", where=str(address), what=what, why=why, do=do)


def _before(past: Sequence[Rollout], serving: str | None) -> Release | None:
    """Return the champion that the newest promotion of the serving release replaced."""
    for rollout in past:
        if rollout.mode == ROLLOUT and rollout.phase is Phase.PROMOTED and rollout.challenger.id == serving:
            champions = [r.champion for r in rollout.regions if r.champion and r.champion.id != serving]
            if champions:
                return champions[0]
    return None


def _named(past: Sequence[Rollout], id: str, live: Sequence[ObservedEndpoint]) -> Release | None:
    releases = [r.challenger for r in past] + [c.champion for r in past for c in r.regions if c.champion]
    releases += [slot.release for seen in live for slot in seen.slots.values() if slot.release]
    return next((release for release in releases if release.id == id), None)
