"""The store on a SQL database: short transactions in threads behind the async port.

Imports the core, the ports and its siblings; `reconciler.store.connect` makes one, everyone else sees the port.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from reconciler.core.canonical import Json
from reconciler.ports import Entry, Lease, NewEntry, StoredRollout, Verification
from reconciler.store import reads
from reconciler.store.batch import Batch
from reconciler.store.failures import unique_violation
from reconciler.store.ledger import verify

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")


class SqlStore:
    """A `reconciler.ports.Store`. The engine for writing is made by `engine` when something is first written.

    Leases go by the database's clock; `clock` takes its place in tests whose time is made up.
    """

    def __init__(
        self, reader: reads.Reader, engine: Callable[[], Engine], *, clock: Callable[[], float] | None = None
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._make_engine = engine
        self._engine: Engine | None = None
        self._making = threading.Lock()
        self._batch = Batch(self._writer, reader.where)
        self._leases = Batch(self._writer, reader.where)

    async def acquire(self, name: str, owner: str, *, ttl_s: float) -> Lease:
        """Take a free, expired or own lease."""
        from reconciler.store import writes

        return await self._on_lease(
            name, "take", lambda c: writes.acquire(c, name, owner, ttl_s=ttl_s, clock=self._now)
        )

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease that is still ours."""
        from reconciler.store import writes

        return await self._on_lease(lease.name, "renew", lambda c: writes.renew(c, lease, ttl_s=ttl_s, clock=self._now))

    async def release(self, lease: Lease) -> None:
        """Give a lease back; succeed if it is not ours any more."""
        from reconciler.store import writes

        await self._on_lease(lease.name, "give back", lambda c: writes.give_back(c, lease))

    async def lease(self, name: str) -> Lease | None:
        """Return the lease as it stands, expired or not."""
        made_up = self._clock() if self._clock else None
        return await asyncio.to_thread(reads.read_lease, self._reader, name, made_up)

    async def break_lease(self, name: str, owner: str) -> None:
        """Expire a dead owner's lease; succeed if someone else has it now."""
        from reconciler.store import writes

        await self._on_lease(name, "break", lambda c: writes.break_lease(c, name, owner))

    async def create_rollout(
        self,
        environment: str,
        endpoint: str,
        id: str,
        body: Json,
        *,
        lease: Lease,
        entries: Sequence[NewEntry] = (),
    ) -> StoredRollout:
        """Store a new active rollout and say so in the ledger."""
        from reconciler.store import writes

        def work(connection: Connection) -> StoredRollout:
            try:
                return writes.create_rollout(
                    connection, environment, endpoint, id, body=body, lease=lease, entries=entries, clock=self._now
                )
            except Exception as error:
                if unique_violation(error):  # someone created one between our look and our insert
                    raise writes.active_rollout(environment, endpoint, None) from error
                raise

        return await self._write(f"create rollout {id}", work, lease)

    async def save_rollout(
        self,
        rollout: StoredRollout,
        body: Json,
        *,
        active: bool,
        lease: Lease | None,
        entries: Sequence[NewEntry] = (),
    ) -> StoredRollout:
        """Compare and set, and append `entries`, all or nothing."""
        from reconciler.store import writes

        return await self._write(
            f"save rollout {rollout.id}",
            lambda c: writes.save_rollout(
                c, rollout, body, active=active, lease=lease, entries=entries, clock=self._now
            ),
            lease,
        )

    async def rollouts(
        self, environment: str, *, endpoint: str | None = None, active: bool | None = None, limit: int | None = None
    ) -> tuple[StoredRollout, ...]:
        """Return rollouts, newest first."""
        return await asyncio.to_thread(
            reads.read_rollouts, self._reader, environment, endpoint=endpoint, active=active, limit=limit
        )

    async def versions(self, environment: str) -> Mapping[str, int]:
        """Return the version of every active rollout by its id."""
        return await asyncio.to_thread(reads.read_versions, self._reader, environment)

    async def rollout(self, id: str) -> StoredRollout | None:
        """Return one rollout by its id, None when there is none."""
        return await asyncio.to_thread(reads.read_rollout, self._reader, id)

    async def append(self, entry: NewEntry, *, lease: Lease | None = None) -> Entry:
        """Append to the environment's hash chain; with a lease, only while it is ours."""
        from reconciler.store import writes

        def work(connection: Connection) -> Entry:
            try:
                return writes.append(connection, entry, lease=lease, clock=self._now)
            except Exception as error:
                if unique_violation(error):
                    raise writes.head_behind(entry.environment) from error
                raise

        return await self._write(f'write ledger entry "{entry.kind}" for {entry.address}', work, lease)

    async def entries(
        self, environment: str, *, newest_first: bool = False, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """Yield ledger entries in order, a page at a time."""
        after, left = 0, limit
        while left is None or left > 0:
            page = await asyncio.to_thread(
                reads.read_entries, self._reader, environment, newest_first=newest_first, after=after
            )
            for entry in page if left is None else page[:left]:
                yield entry
            if len(page) < reads.PAGE:
                return
            after, left = page[-1].seq, None if left is None else left - len(page)

    async def newest(self, environment: str, kind: str) -> tuple[Entry, ...]:
        """Return the newest entry of a kind for each address, however old."""
        return await asyncio.to_thread(reads.read_newest, self._reader, environment, kind)

    async def verify(self, environment: str) -> Verification:
        """Check the environment's hash chain against itself and against its head."""

        def work() -> Verification:
            chain = reads.Chain(self._reader, environment)
            return verify(chain.entries(), head=lambda: chain.head)

        return await asyncio.to_thread(work)

    async def add_tick(self, rollout: str, region: str, body: Json, *, lease: Lease | None = None) -> None:
        """Record one judge tick, for replay."""
        from reconciler.store import writes

        await self._write(
            f"record a tick of rollout {rollout}",
            lambda c: writes.add_tick(c, rollout, region, body=body, lease=lease, clock=self._now),
            lease,
        )

    async def prune_ticks(self, environment: str, endpoint: str, *, keep: int) -> int:
        """Delete the ticks of an endpoint's ended rollouts but the newest `keep`."""
        from reconciler.store import writes

        return await self._write(
            f"delete old ticks of {environment}/{endpoint}",
            lambda c: writes.prune_ticks(c, environment, endpoint, keep=keep),
        )

    async def ticks(self, rollout: str, region: str) -> tuple[Json, ...]:
        """Return the recorded ticks of a rollout in one region, in order."""
        return await asyncio.to_thread(reads.read_ticks, self._reader, rollout, region)

    async def close(self) -> None:
        """Release connections."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.dispose)

    async def _write(self, doing: str, work: Callable[[Connection], T], lease: Lease | None = None) -> T:
        """Do some work in a transaction that it may share with other work of this process."""
        return await self._batch.add(doing, work, lease=lease.name if lease else "")

    async def _on_lease(self, name: str, doing: str, work: Callable[[Connection], T]) -> T:
        """Do some work on a lease, apart from the ledger: who locks a lease never waits for the ledger's head too."""
        return await self._leases.add(f"{doing} the lease {name}", work, lease=name)

    def _now(self, connection: Connection) -> float:
        from reconciler.store import writes

        return self._clock() if self._clock else writes.database_clock(connection)

    def _writer(self) -> Engine:
        with self._making:
            if self._engine is None:
                self._engine = self._make_engine()
            return self._engine
