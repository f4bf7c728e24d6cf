"""Carry out a plan: one loop for each endpoint that changes, side by side, each under its own lease.

Imports the core, the loop and planning; the command `apply` and the controller call it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.after import aborted
from reconciler.core.begin import empty_endpoint, new_repair, new_rollout
from reconciler.core.change import Action, Change
from reconciler.core.plan import Plan, Scope, World, changes_of
from reconciler.core.rollout import Phase, Rollout, rollout_from_json, rollout_to_json
from reconciler.loop import Loop, Snapshot, Watcher, take_lease
from reconciler.noise import with_learned_noise
from reconciler.owner import is_dead, owner_id
from reconciler.planning import Planner
from reconciler.ports import Lease
from reconciler.record import Record, stored_rollout, timestamp
from reconciler.region import Workshop

_ATTACH_POLL_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """How one endpoint ended. `rollout` is None when the endpoint was removed."""

    endpoint: str
    rollout: Rollout | None
    summary: str

    @property
    def good(self) -> bool:
        """Return whether the endpoint is now as the plan wanted it."""
        return self.rollout is None or self.rollout.phase is Phase.PROMOTED


def lease_name(environment: str, endpoint: str) -> str:
    """Return the name of the lease over one endpoint in all its regions."""
    return f"{environment}/{endpoint}"


def rollout_id(endpoint: str, now: float) -> str:
    """Return a new id that sorts by time within an endpoint."""
    return f"{endpoint}-{timestamp(now)[:19].replace('-', '').replace(':', '')}-{secrets.token_hex(2)}"


class Applier:
    """Brings endpoints to a plan's state. `notice` gets sentences for people; `watch` every turn of every loop."""

    def __init__(
        self,
        shop: Workshop,
        planner: Planner,
        *,
        watch: Watcher,
        notice: Callable[[str], None],
        owner: str | None = None,
    ) -> None:
        self._shop = shop
        self._planner = planner
        self._environment = planner.loaded.spec.environment
        self._watch = watch
        self._notice = notice
        self._owner = owner or owner_id()

    async def apply(self, plan: Plan) -> list[Outcome]:
        """Carry out every change of the plan, endpoints side by side."""
        jobs = [self._endpoint(name, plan) for name in sorted({c.address.endpoint for c in plan.pending})]
        return [outcome for outcomes in await asyncio.gather(*jobs) for outcome in outcomes]

    async def run(self, endpoint: str, begin: Callable[[str, float], Rollout]) -> Outcome:
        """Begin the rollout that `begin(id, now)` makes and drive it to its end: a person's rollback comes this way.

        Raises:
            SluiceError: `LEASE-001` someone else is at work on the endpoint.
        """
        lease = await self._lease(endpoint)
        try:
            now = self._shop.clock()
            return await self._drive(begin(rollout_id(endpoint, now), now), lease)
        finally:
            await self._shop.store.release(lease)

    async def resume(self, rollout: Rollout) -> Outcome:
        """Drive a rollout that is in flight to its end.

        Raises:
            SluiceError: `LEASE-001` someone else is at work on it.
        """
        lease = await self._lease(rollout.endpoint)
        try:
            return await self._continue(rollout, rollout.challenger.id, lease)
        finally:
            await self._shop.store.release(lease)

    async def _endpoint(self, name: str, plan: Plan) -> list[Outcome]:
        while True:
            try:
                lease = await self._lease(name)
            except SluiceError as error:
                if error.code != "LEASE-001":
                    raise
                watched = await self._attach(name, error)
                if watched is None:
                    continue
                return [watched]
            try:
                return await self._own(name, plan, lease)
            finally:
                await self._shop.store.release(lease)

    async def _own(self, name: str, plan: Plan, lease: Lease) -> list[Outcome]:
        """Do what is left to do now that the endpoint is ours: someone may have done it while we waited."""
        outcomes = []
        world, targets = await self._left(name, plan)
        in_flight = world.active.get(name)
        if in_flight:
            wanted = next((d.release.id for d in world.desired.endpoints), None)
            outcomes.append(await self._continue(in_flight, wanted, lease))
            if in_flight.challenger.id == wanted:
                return outcomes
            world, targets = await self._left(name, plan)
        desired = {d.address: d for d in world.desired.endpoints}
        for change in targets:
            if change.action is Action.REMOVE:
                outcomes.append(await self._remove(change.address, lease))
        for actions, begin in (((Action.UPDATE,), new_repair), ((Action.CREATE, Action.ROLLOUT), new_rollout)):
            group = [desired[c.address] for c in targets if c.action in actions]
            if group:
                live = {d.address: world.observed.endpoints.get(d.address, empty_endpoint(d.address)) for d in group}
                now = self._shop.clock()
                outcomes.append(
                    await self._drive(begin(rollout_id(name, now), group, live, now=now, actor=self._owner), lease)
                )
        return outcomes

    async def _left(self, name: str, plan: Plan) -> tuple[World, list[Change]]:
        world = await self._planner.world(Scope((name,), plan.scope.regions), removed=True)
        planned = {c.address for c in plan.pending}
        return world, [c for c in changes_of(world) if c.address in planned and c.action is not Action.NONE]

    async def _continue(self, rollout: Rollout, wanted: str | None, lease: Lease) -> Outcome:
        stored = await stored_rollout(self._shop.store, self._environment, rollout.id)
        rollout = rollout_from_json(stored.body)  # its owner may have gone on until the lease became ours
        if rollout.ended:
            return self._outcome(rollout)
        record = Record(self._shop.store, stored, rollout, lease, self._shop.clock)
        if rollout.challenger.id != wanted:
            self._notice(f"{rollout.endpoint}: rollout {rollout.id} is superseded; rolling it back first")
            await record.change(lambda r: aborted(r, f"superseded: the environment file now declares {wanted}"))
        else:
            self._notice(f"{rollout.endpoint}: resuming rollout {rollout.id} at {rollout.phase}")
        return self._outcome(await Loop(self._shop, record, self._watch).run())

    async def _drive(self, rollout: Rollout, lease: Lease) -> Outcome:
        rollout = await with_learned_noise(self._shop.store, rollout)
        stored = await self._shop.store.create_rollout(
            self._environment, rollout.endpoint, rollout.id, rollout_to_json(rollout), lease=lease
        )
        record = Record(self._shop.store, stored, rollout, lease, self._shop.clock)
        await record.begun()
        return self._outcome(await Loop(self._shop, record, self._watch).run())

    async def _remove(self, address: Address, lease: Lease) -> Outcome:
        region = self._shop.regions[address.region]
        for kind in ("remove.before", "remove.after", "state"):
            if kind == "remove.after":
                await region.pointers.publish(address.endpoint, None, fence=lease.token)
                await region.writer.remove(address, fence=lease.token)
            await self._shop.store.append(
                self._environment,
                at=timestamp(self._shop.clock()),
                actor=self._owner,
                kind=kind,
                address=str(address),
                summary="the environment file no longer declares it",
                body={"removed": True},
                lease=lease,
            )
        return Outcome(address.endpoint, None, f"{address} removed")

    async def _lease(self, endpoint: str) -> Lease:
        return await take_lease(self._shop, lease_name(self._environment, endpoint), self._owner, is_dead=is_dead)

    async def _attach(self, name: str, busy: SluiceError) -> Outcome | None:
        """Watch another owner's rollout until it ends; None when the owner is gone and the work is ours to take."""
        self._notice(f"{name}: {busy.problem.what}; watching")
        watched: str | None = None
        while True:
            active = await self._shop.store.rollouts(self._environment, endpoint=name, active=True, limit=1)
            if active:
                watched = active[0].id
                current = rollout_from_json(active[0].body)
                self._watch(Snapshot(current, (), {}, {}))
                if current.phase is Phase.PAUSED:
                    return self._outcome(current)
            elif watched:
                return self._outcome(rollout_from_json((await stored_rollout(self._shop.store, name, watched)).body))
            held = await self._shop.store.lease(lease_name(self._environment, name))
            if held is None or held.expires_at < self._shop.clock() or is_dead(held.owner):
                return None
            await asyncio.sleep(_ATTACH_POLL_S)

    def _outcome(self, rollout: Rollout) -> Outcome:
        return Outcome(rollout.endpoint, rollout, f"{rollout.endpoint}: {rollout.phase}: {rollout.reason}")
