"""The journal of one rollout: what the loop decides and does, in store and ledger, before and after every effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.events import Decided, EffectDone, EffectFailed, EffectStarted, Event, RolloutBegun, StateRecorded
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import GateResult, Rollout, Trouble, rollout_from_json, rollout_to_json
from reconciler.core.rollout.after import after, failed, holds, underway
from reconciler.core.rollout.steps import (
    Effect,
    Finish,
    NoteSilence,
    RegionEffect,
    SetAlias,
    Transition,
    effect_key,
)
from reconciler.engine.lease import HeldLease
from reconciler.ports import NewEntry, Store, StoredRollout, entry_of

T = TypeVar("T")
_CONFLICTS_MAX = 20
_RETRY_S = 0.5


class Versions:
    """Knows which rollouts an operator has changed: all loops of a process share one look at the store."""

    def __init__(self, store: Store, environment: str) -> None:
        self._store = store
        self._environment = environment
        self._looking: asyncio.Task[Mapping[str, int]] | None = None

    async def of(self, id: str) -> int | None:
        """Return a rollout's version as the store has it now; None when it is not active."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._store.versions(self._environment))
        found = await asyncio.shield(self._looking)
        return found.get(id)


@dataclass
class Record:
    """One rollout's place in the store, written by its owner alone; an operator may change its intent meanwhile.

    Every change is one transaction with the ledger entries that tell of it. A store that does not answer is asked again
    for as long as the lease lasts: nothing is decided meanwhile, and a canary is not left alone for one hiccup.
    """

    store: Store
    stored: StoredRollout
    rollout: Rollout
    held: HeldLease
    clock: Callable[[], float]
    versions: Versions | None = None

    def __post_init__(self) -> None:
        self._writing = asyncio.Lock()

    @classmethod
    async def create(cls, store: Store, rollout: Rollout, held: HeldLease, clock: Callable[[], float]) -> Record:
        """Store a new rollout, with the whole release, its lineage and its champions in the ledger.

        Raises:
            SluiceError: `STORE-003` the endpoint has an active rollout already; `LEASE-002`.
        """
        begun = entry_of(RolloutBegun(rollout), now=clock(), actor=held.lease.owner)
        stored = await store.create_rollout(
            rollout.environment,
            rollout.endpoint,
            rollout.id,
            rollout_to_json(rollout),
            lease=held.lease,
            entries=[begun],
        )
        return cls(store, stored, rollout, held, clock)

    @classmethod
    async def open(cls, store: Store, rollout: Rollout, held: HeldLease, clock: Callable[[], float]) -> Record:
        """Take over a rollout as it stands now: its owner may have gone on until the lease became ours."""
        stored = await stored_rollout(store, rollout.environment, rollout.id)
        return cls(store, stored, rollout_from_json(stored.body), held, clock)

    async def refresh(self) -> Rollout:
        """Return the rollout with what an operator may have changed meanwhile."""
        async with self._writing:
            versions = self.versions
            if versions and await self._kept(lambda: versions.of(self.stored.id)) == self.stored.version:
                return self.rollout
            return await self._reload()

    async def change(self, changed: Callable[[Rollout], Rollout]) -> Rollout:
        """Store the changed rollout; when an operator came between, apply the change to what they left."""
        async with self._writing:
            return await self._save(changed, lambda rollout: [])

    async def move(self, step: Transition, decided_on: Rollout, evidence: Json) -> bool:
        """Let a decision take effect, and say so with its evidence; return False when it does not hold any more."""
        held = False

        def moved(rollout: Rollout) -> Rollout:
            nonlocal held
            held = holds(step, decided_on, rollout)
            return after(rollout, step, self.clock()) if held else rollout

        def told(rollout: Rollout) -> list[NewEntry]:
            if not held or isinstance(step, NoteSilence):
                return []
            return [self._entry(Decided(rollout, step, evidence))]

        async with self._writing:
            await self._save(moved, told)
        return held

    async def finish(self, step: Finish, decided_on: Rollout, live: Sequence[ObservedEndpoint]) -> bool:
        """End the rollout, and record what is live at its end: what `sluice drift` compares with."""
        held = False

        def moved(rollout: Rollout) -> Rollout:
            nonlocal held
            held = holds(step, decided_on, rollout)
            return after(rollout, step, self.clock()) if held else rollout

        def told(rollout: Rollout) -> list[NewEntry]:
            if not held:
                return []
            return [*(self._entry(StateRecorded(rollout, seen)) for seen in live), self._entry(Decided(rollout, step))]

        async with self._writing:
            await self._save(moved, told)
        return held

    async def before(self, step: Effect) -> None:
        """Say in the ledger what is about to be done; of an effect that keeps failing only now and then."""
        if not _is_loud(self._tries(step) + 1) or self._has_begun(step):
            return
        async with self._writing:
            entry = self._entry(EffectStarted(self.rollout, step))
            await self._kept(lambda: self.store.append(entry, lease=self.held.lease))

    async def after(self, step: Effect, found: GateResult | None) -> None:
        """Say that an effect was done, with what a gate found, and take it into the rollout."""
        entry = self._entry(EffectDone(self.rollout, step, found))
        async with self._writing:
            await self._save(
                lambda rollout: after(rollout, step, self.clock(), found), lambda rollout: [entry], always=True
            )

    async def note(self, event: Event) -> None:
        """Say in the ledger what was learned by the way; it changes nothing of the rollout."""
        entry = self._entry(event)
        async with self._writing:
            await self._kept(lambda: self.store.append(entry, lease=self.held.lease))

    async def underway(self, step: RegionEffect, why: str) -> None:
        """Remember that an effect has begun and what it waits for; the ledger tells when it is done."""
        await self.change(lambda rollout: underway(rollout, step, self.clock(), why=why))

    async def failed(self, step: Effect, error: SluiceError) -> None:
        """Say that an effect failed, and count it; of one that keeps failing every power of two is told."""
        tries = self._tries(step) + 1
        entry = self._entry(EffectFailed(self.rollout, step, error, tries))
        async with self._writing:
            await self._save(
                lambda rollout: failed(rollout, step, self.clock(), error=error),
                lambda rollout: [entry] if _is_loud(tries) else [],
            )

    async def keep_tick(self, region: str, body: Json) -> None:
        """Keep one tick of the judge, under the lease: one of a fenced-off owner is never counted twice."""
        await self._kept(lambda: self.store.add_tick(self.rollout.id, region, body, lease=self.held.lease))

    def _has_begun(self, step: Effect) -> bool:
        going = None if isinstance(step, SetAlias) else self.rollout.region(step.region).underway
        return going is not None and going.effect == effect_key(step)

    def _tries(self, step: Effect) -> int:
        """Return how often in a row an effect has failed so far."""
        rollout = self.rollout
        trouble: Trouble | None = rollout.trouble if isinstance(step, SetAlias) else rollout.region(step.region).trouble
        return trouble.tries if trouble and trouble.effect == effect_key(step) else 0

    async def _reload(self) -> Rollout:
        self.stored = await self._kept(lambda: stored_rollout(self.store, self.stored.environment, self.stored.id))
        self.rollout = rollout_from_json(self.stored.body)
        return self.rollout

    async def _save(
        self,
        changed: Callable[[Rollout], Rollout],
        told: Callable[[Rollout], list[NewEntry]],
        *,
        always: bool = False,
    ) -> Rollout:
        for _ in range(_CONFLICTS_MAX):
            rollout = changed(self.rollout)
            entries = told(rollout)
            if rollout == self.rollout and not (always and entries):
                return rollout
            body = rollout_to_json(rollout)
            try:
                self.stored = await self._kept(
                    lambda body=body, entries=entries, rollout=rollout: self.store.save_rollout(  # type: ignore[misc]
                        self.stored, body, active=not rollout.ended, lease=self.held.lease, entries=entries
                    )
                )
            except SluiceError as error:
                if error.code != "STORE-002":
                    raise
                await self._reload()
                continue
            self.rollout = rollout
            return rollout
        raise SluiceError(
            "STORE-002",
            where=self.rollout.id,
            what="the rollout kept changing under us",
            do="try again",
            retryable=True,
        )

    async def _kept(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something with the store, again while it fails for a passing reason and the lease lasts."""
        while True:
            try:
                return await work()
            except SluiceError as error:
                passing = error.retryable and error.code not in ("STORE-002", "LEASE-001", "LEASE-002")
                if not passing or self.held.left_s <= 0:
                    raise
            await asyncio.sleep(_RETRY_S)

    def _entry(self, event: Event) -> NewEntry:
        return entry_of(event, now=self.clock(), actor=self.held.lease.owner)


def _is_loud(attempt: int) -> bool:
    """Return whether the n-th attempt in a row is told in the ledger: 1, 2, 4, 8 and so on."""
    return attempt & (attempt - 1) == 0


async def stored_rollout(store: Store, environment: str, id: str) -> StoredRollout:
    """Return one rollout by id.

    Raises:
        SluiceError: `STORE-004` there is none.
    """
    stored = await store.rollout(id)
    if stored is not None:
        return stored
    raise SluiceError(
        "STORE-004", where=environment, what=f"there is no rollout {id}", do=f"sluice history {environment}"
    )
