"""Carry out a plan: every endpoint by itself, under a lease of its own, and only what the plan says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from environments.errors import SluiceError
from environments.names import Address
from policies.glass import let_pass
from reconciler.core.events import STATE, Event, GlassUsed, GuardRecorded, RemovalTold, told
from reconciler.core.model.finding import Finding
from reconciler.core.model.rollout import REPAIR, Phase, Rollout, rollout_from_json
from reconciler.core.plan.change import Action, Change
from reconciler.core.plan.plan import Plan, Scope, World, changes_of
from reconciler.core.plan.retire import slots_of
from reconciler.core.rollout.begin import empty_endpoint, new_repair, new_rollout, retiring, with_specs
from reconciler.core.rollout.operator import aborted
from reconciler.core.times import timestamp
from reconciler.engine.heads import sign_end
from reconciler.engine.journal import Record, Versions, stored_rollout
from reconciler.engine.lease import HeldLease, held, lease_name
from reconciler.engine.loop import Loop, Snapshot, Watcher
from reconciler.engine.owner import described, is_dead, owner_id
from reconciler.evidence.noise import with_learned_noise
from reconciler.planning.facts import declared_guard
from reconciler.planning.planner import Planner
from reconciler.ports import BorrowsScalers, entry_of, finished
from reconciler.ports.adapters import Adapters

_ATTACH_POLL_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """How one endpoint ended.

    `rollout` is None when none was needed: the endpoint was removed, or was as it should be. `good` says that the
    endpoint is now as the plan wanted it; `error` is why it could not be worked on.
    """

    endpoint: str
    rollout: Rollout | None
    summary: str
    good: bool
    error: SluiceError | None = None
    removed: bool = False


def rollout_id(endpoint: str, now: float) -> str:
    """Return a new id that sorts by time within an endpoint."""
    return f"{endpoint}-{timestamp(now)[:19].replace('-', '').replace(':', '')}-{secrets.token_hex(2)}"


class Applier:
    """Brings endpoints to a plan's state. `message` gets sentences for people; `watch` every turn of every loop."""

    def __init__(
        self,
        adapters: Adapters,
        planner: Planner,
        *,
        watch: Watcher,
        message: Callable[[str], None],
    ) -> None:
        self._adapters = adapters
        self._planner = planner
        self._environment = planner.loaded.spec.environment
        self._watch = watch
        self._message = message
        self._loops: set[Loop] = set()
        self._versions = Versions(adapters.store, self._environment)
        self._leaving = False

    def leave(self) -> None:
        """Have every loop stop soon, its traffic back with its champion; what was begun can be taken up again."""
        self._leaving = True
        for loop in self._loops:
            loop.leave()

    async def apply(self, plan: Plan) -> list[Outcome]:
        """Carry out every change of the plan, endpoints side by side; what ails one endpoint stops no other."""
        names = sorted({c.address.endpoint for c in plan.pending})
        jobs = [self.guarded(name, self._endpoint(name, plan)) for name in names]
        return [outcome for outcomes in await asyncio.gather(*jobs) for outcome in outcomes]

    async def run(self, endpoint: str, begin: Callable[[str, float], Rollout]) -> Outcome:
        """Begin the rollout that `begin(id, now)` makes and drive it to its end: a rollback comes this way.

        Raises:
            SluiceError: `LEASE-001` someone else is at work on the endpoint.
        """
        async with self._held(endpoint) as lease:
            now = self._adapters.clock()
            return await self._begin(begin(rollout_id(endpoint, now), now), lease)

    async def resume(self, rollout: Rollout) -> Outcome:
        """Drive a rollout that is in flight to its end.

        Raises:
            SluiceError: `LEASE-001` someone else is at work on it.
        """
        async with self._held(rollout.endpoint) as lease:
            return await self._drive(await self._opened(rollout, lease))

    async def guarded(self, endpoint: str, job: Awaitable[list[Outcome]]) -> list[Outcome]:
        """Return what a job returns, or its error as an outcome."""
        try:
            return await job
        except SluiceError as error:
            return [Outcome(endpoint, None, f"{error.code}: {error.problem.what}", good=False, error=error)]

    async def _endpoint(self, name: str, plan: Plan) -> list[Outcome]:
        """Do a plan's work on one endpoint; while someone else is at it, watch, and do what is left afterwards."""
        watched: Outcome | None = None
        while not self._leaving:
            try:
                async with self._held(name) as lease:
                    outcomes = await self._own(name, plan, lease)
                return outcomes or [watched or Outcome(name, None, f"{name}: nothing is left to do", good=True)]
            except SluiceError as error:
                if error.code != "LEASE-001":
                    raise
                watched = await self._attach(name, error)
                if watched and not watched.good:
                    return [watched]
        return [Outcome(name, None, f"{name}: left before it began", good=False)]

    async def _own(self, name: str, plan: Plan, lease: HeldLease) -> list[Outcome]:
        """Do what is left to do now that the endpoint is ours: someone may have done it while we waited."""
        outcomes = []
        world, targets, opened = await self._left(name, plan)
        in_flight = world.active.get(name)
        if in_flight:
            outcome = await self._take_up(in_flight, world.wanted.get(name), lease)
            outcomes.append(outcome)
            if self._leaving or not outcome.good:
                return outcomes
            world, targets, opened = await self._left(name, plan)
        else:
            await self._give_back(name, self._planner.loaded.spec.regions, lease.lease.token)
        await self._tell(name, targets, opened, lease)
        for change in targets:
            if change.action is Action.REMOVE:
                outcomes.append(await self._remove(change.address, lease))
        for actions, begin in (((Action.UPDATE,), new_repair), ((Action.CREATE, Action.ROLLOUT), new_rollout)):
            rollout = self._planned(name, world, [c for c in targets if c.action in actions], begin)
            if rollout and not self._leaving:
                outcomes.append(await self._begin(rollout, lease))
        return outcomes

    def _planned(
        self, name: str, world: World, changes: Iterable[Change], begin: Callable[..., Rollout]
    ) -> Rollout | None:
        """Return the rollout that carries out changes of one kind; None without any."""
        desired = {d.address: d for d in world.desired.endpoints}
        group = [desired[c.address] for c in changes]
        if not group:
            return None
        live = {d.address: world.observed.endpoints.get(d.address, empty_endpoint(d.address)) for d in group}
        now = self._adapters.clock()
        begun = begin(rollout_id(name, now), group, live, now=now, actor=described(owner_id()))
        return retiring(begun, slots_of(world.retiring)) if begun.mode == REPAIR else begun

    async def _left(self, name: str, plan: Plan) -> tuple[World, list[Change], tuple[str, ...]]:
        """Return the world, what of the plan is left to do for one endpoint, and the policies that break-glass opens.

        Raises:
            SluiceError: `PLAN-003` what would run is not what was planned; `POLICY-001` a policy denies it by now.
        """
        world = await self._planner.world(Scope((name,), plan.scope.regions), now=self._adapters.clock(), removed=True)
        planned = {c.address: c for c in plan.pending}
        # What has become due since is the next plan's.
        due = {a: kept for a, kept in world.retiring.items() if a in planned and planned[a].retires}
        world = replace(world, retiring=due)
        left = [c for c in changes_of(world) if c.address in planned and c.action is not Action.NONE]
        for change in left:
            _refuse_another(planned[change.address], change)
        facts = await self._planner.facts(world, tuple(left))
        findings = self._planner.judged(world, tuple(left), now=self._adapters.clock(), facts=facts)
        self._refuse_denied(findings)
        return world, left, let_pass(findings, world.spec)

    async def _tell(self, name: str, targets: list[Change], opened: tuple[str, ...], lease: HeldLease) -> None:
        """Write down what guards the endpoint while it gets a release, and what break-glass let pass."""
        address, spec = Address.everywhere(self._environment, name), self._planner.loaded.spec
        events: list[Event] = []
        guard = declared_guard(spec, name)
        if guard and any(c.action in (Action.CREATE, Action.ROLLOUT) for c in targets):
            events.append(GuardRecorded(address, guard.model_dump(mode="json")))
        if opened and targets and (glass := spec.break_glass):
            used = GlassUsed(address, opened, glass.who, glass.reason, timestamp(glass.until.timestamp()))
            self._message(f"{name}: {told(used).summary}")
            events.append(used)
        for event in events:
            entry = entry_of(event, now=self._adapters.clock(), actor=lease.lease.owner)
            await self._adapters.store.append(entry, lease=lease.lease)

    def _refuse_denied(self, findings: list[Finding]) -> None:
        denied = [f for f in findings if f.level == "deny"]
        if denied:
            first = denied[0]
            raise SluiceError(
                "POLICY-001",
                where=first.address,
                what=f"{first.policy}: {first.message}",
                why="a policy denies what the plan would do now",
                do=f"sluice policy explain {first.policy}",
            )

    async def _take_up(self, rollout: Rollout, wanted: str | None, lease: HeldLease) -> Outcome:
        """Go on with a rollout that is in flight; one that leads elsewhere is rolled back, and that is good then."""
        record = await self._opened(rollout, lease)
        superseded = record.rollout.challenger.id != wanted
        if not record.rollout.ended and superseded and not record.rollout.falling_back:
            self._message(f"{rollout.endpoint}: rollout {rollout.id} is superseded; rolling it back first")
            why = f"superseded: the environment file now declares {wanted or 'no such endpoint'}"
            await record.change(lambda r: aborted(r, why))
        elif not record.rollout.ended:
            self._message(f"{rollout.endpoint}: resuming rollout {rollout.id} at {record.rollout.phase}")
        outcome = self._outcome(record.rollout) if record.rollout.ended else await self._drive(record)
        gone = superseded and outcome.rollout is not None and outcome.rollout.phase is Phase.ROLLED_BACK
        return replace(outcome, good=outcome.good or gone)

    async def _opened(self, rollout: Rollout, lease: HeldLease) -> Record:
        return await Record.open(self._adapters.store, rollout, lease, self._adapters.clock)

    async def _begin(self, rollout: Rollout, lease: HeldLease) -> Outcome:
        rollout = with_specs(await with_learned_noise(self._adapters.store, rollout), self._planner.loaded.spec)
        return await self._drive(await Record.create(self._adapters.store, rollout, lease, self._adapters.clock))

    async def _drive(self, record: Record) -> Outcome:
        record.versions = self._versions
        loop = Loop(self._adapters.with_regions_of(record.rollout), record, self._watch)
        self._loops.add(loop)
        if self._leaving:
            loop.leave()
        try:
            ended = await loop.run()
            if ended.ended:
                await self._give_back(ended.endpoint, [r.region for r in ended.regions], record.held.lease.token)
        finally:
            self._loops.discard(loop)
        if ended.ended:
            await self._sign(ended)
        return self._outcome(ended)

    async def _sign(self, ended: Rollout) -> None:
        """Sign the ledger's head; a key that does not answer is told and undoes nothing."""
        adapters = self._adapters
        if adapters.signer is None:
            return
        try:
            await sign_end(adapters.store, adapters.signer, self._environment, ended.endpoint, ended.id, adapters.clock)
        except SluiceError as error:
            self._message(f"{ended.endpoint}: the ledger was not signed: {error.code}: {error.problem.what}")
            self._message(f"sign it later with: sluice ledger anchor {self._environment} -o FILE")

    async def _give_back(self, endpoint: str, regions: Iterable[str], fence: int) -> None:
        """Give back autoscalers; a region that cannot do it now is told, and does it in the next apply."""
        for name in regions:
            region = self._adapters.regions.get(name)
            if region is None or not isinstance(region.writer, BorrowsScalers):
                continue
            address = Address(self._environment, name, endpoint)
            try:
                await region.writer.give_back(address, fence=fence)
            except SluiceError as error:
                self._message(f"{address}: its autoscaler is still held: {error.code}: {error.problem.what}")

    async def _remove(self, address: Address, lease: HeldLease) -> Outcome:
        region = self._adapters.regions[address.region]
        for kind in ("remove.before", "remove.after", STATE):
            if kind == "remove.after":
                await region.pointers.publish(address.endpoint, None, fence=lease.lease.token)
                await finished(region.writer.remove, address, fence=lease.lease.token)
            entry = entry_of(RemovalTold(address, kind), now=self._adapters.clock(), actor=lease.lease.owner)
            await self._adapters.store.append(entry, lease=lease.lease)
        return Outcome(address.endpoint, None, f"{address} removed", good=True, removed=True)

    def _held(self, endpoint: str) -> AbstractAsyncContextManager[HeldLease]:
        return held(self._adapters.store, lease_name(self._environment, endpoint), owner_id(), self._adapters.clock)

    async def _attach(self, name: str, busy: SluiceError) -> Outcome | None:
        """Watch another owner's rollout until it ends; None when the owner is gone and the work is ours to take."""
        self._message(f"{name}: {busy.problem.what}; watching")
        watched: str | None = None
        while not self._leaving:
            active = await self._adapters.store.rollouts(self._environment, endpoint=name, active=True, limit=1)
            if active:
                watched = active[0].id
                current = rollout_from_json(active[0].body)
                self._watch(Snapshot(current, (), {}, {}))
                if current.phase is Phase.PAUSED and not current.falling_back:
                    return self._outcome(current)
            elif watched:
                stored = await stored_rollout(self._adapters.store, name, watched)
                return self._outcome(rollout_from_json(stored.body))
            lease = await self._adapters.store.lease(lease_name(self._environment, name))
            if lease is None or lease.left_s <= 0 or is_dead(lease.owner):
                return None
            await asyncio.sleep(_ATTACH_POLL_S)
        return None

    def _outcome(self, rollout: Rollout) -> Outcome:
        summary = f"{rollout.endpoint}: {rollout.phase}: {rollout.reason}".removesuffix(": ")
        return Outcome(rollout.endpoint, rollout, summary, good=rollout.phase is Phase.PROMOTED)


def _refuse_another(planned: Change, left: Change) -> None:
    """Refuse to run what was not planned: other content behind the same reference, or another action."""
    if planned.release == left.release:
        return
    raise SluiceError(
        "PLAN-003",
        where=str(left.address),
        what=f"the plan leads to {planned.release or 'a removal'}, and the file now leads to {left.release or 'one'}",
        why="what was approved is not what would be done",
        do=f"make a new plan: sluice plan {left.address.environment}",
    )
