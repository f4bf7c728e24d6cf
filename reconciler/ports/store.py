"""What survives a process: leases, rollouts, ticks and the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.canonical import Json
from reconciler.core.events import Event, told
from reconciler.core.times import timestamp


@dataclass(frozen=True)
class Lease:
    """The right to write to one endpoint. `token` grows with every new owner.

    `left_s` is how long it still lasts, by the store's own clock when it was read: owners whose machines disagree about
    the time agree on it. 0 or less means that anybody may take it.
    """

    name: str
    owner: str
    token: int
    left_s: float


@dataclass(frozen=True)
class Entry:
    """One ledger entry as written; `hash` covers everything else, `prev` is the hash of the entry before."""

    environment: str
    seq: int
    at: str
    actor: str
    kind: str
    address: str
    rollout: str | None
    summary: str
    body: Json
    prev: str
    hash: str


@dataclass(frozen=True)
class NewEntry:
    """A ledger entry before it has a place in its chain; `at` is RFC 3339 in UTC, secrets in it are masked."""

    environment: str
    at: str
    actor: str
    kind: str
    address: str
    summary: str
    rollout: str | None = None
    body: Json = field(default_factory=dict)


def entry_of(event: Event, *, now: float, actor: str) -> NewEntry:
    """Return the ledger entry that tells of an event at `now`, in epoch seconds."""
    said = told(event)
    return NewEntry(
        said.address.environment,
        at=timestamp(now),
        actor=actor,
        kind=said.kind,
        address=str(said.address),
        summary=said.summary,
        rollout=said.rollout,
        body=said.body,
    )


@dataclass(frozen=True)
class Verification:
    """What a check of one environment's hash chain found.

    `checked` entries from the start are sound. `problem` says in words what is wrong, at place `seq`.
    """

    ok: bool
    checked: int
    problem: str | None = None
    seq: int | None = None


@dataclass(frozen=True)
class StoredRollout:
    """A rollout as stored: its JSON and the version that a compare-and-set must name."""

    id: str
    environment: str
    endpoint: str
    active: bool
    version: int
    body: Json


class Store(Protocol):
    """Leases, rollouts, judge ticks and the ledger, shared by commands and controllers."""

    async def acquire(self, name: str, owner: str, *, ttl_s: float) -> Lease:
        """Take a free, expired or own lease; a new owner gets a higher token, the same owner keeps its own.

        Raises:
            SluiceError: `LEASE-001` someone else holds it; `where` is the lease, `what` names the owner.
        """
        ...

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend a lease that is still ours, run out or not: nobody has taken it.

        Raises:
            SluiceError: `LEASE-002` it has another owner or token.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back; succeed if it is not ours any more."""
        ...

    async def lease(self, name: str) -> Lease | None:
        """Return the lease as it stands, expired or not."""
        ...

    async def break_lease(self, name: str, owner: str) -> None:
        """Expire `owner`'s lease, whose process is known to be dead; succeed if someone else has it now."""
        ...

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
        """Store a new active rollout and say so in the ledger, both or neither.

        Raises:
            SluiceError: `STORE-003` the endpoint has an active rollout already; `LEASE-002` the lease is not ours.
        """
        ...

    async def save_rollout(
        self,
        rollout: StoredRollout,
        body: Json,
        *,
        active: bool,
        lease: Lease | None,
        entries: Sequence[NewEntry] = (),
    ) -> StoredRollout:
        """Compare and set, and append `entries`, all or nothing: the ledger never tells what did not happen.

        `lease=None` is an operator's action (pause, abort): the version alone guards it.

        Raises:
            SluiceError: `STORE-002` the version has moved (retryable); `LEASE-002` the lease is not ours.
        """
        ...

    async def rollouts(
        self, environment: str, *, endpoint: str | None = None, active: bool | None = None, limit: int | None = None
    ) -> tuple[StoredRollout, ...]:
        """Return rollouts, newest first; all of them without a limit."""
        ...

    async def versions(self, environment: str) -> Mapping[str, int]:
        """Return the version of every active rollout by its id: one cheap look tells which of them have moved."""
        ...

    async def rollout(self, id: str) -> StoredRollout | None:
        """Return one rollout by its id, None when there is none."""
        ...

    async def append(self, entry: NewEntry, *, lease: Lease | None = None) -> Entry:
        """Append to the environment's hash chain in one transaction; with a lease, only while it is ours.

        Raises:
            SluiceError: `STORE-001` it could not be written (disk full, database gone); `LEASE-002`.
        """
        ...

    def entries(
        self, environment: str, *, newest_first: bool = False, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """Yield ledger entries in order."""
        ...

    async def newest(self, environment: str, kind: str) -> tuple[Entry, ...]:
        """Return the newest entry of a kind for each address, however old, sorted by address."""
        ...

    async def verify(self, environment: str) -> Verification:
        """Check the environment's hash chain against itself and against the head that is kept beside it."""
        ...

    async def add_tick(self, rollout: str, region: str, body: Json, *, lease: Lease | None = None) -> None:
        """Record one judge tick, for resuming and for replay; with a lease, only while it is ours.

        Raises:
            SluiceError: `LEASE-002` the lease is not ours: the tick belongs to the new owner.
        """
        ...

    async def prune_ticks(self, environment: str, endpoint: str, *, keep: int) -> int:
        """Delete the ticks of an endpoint's ended rollouts but the newest `keep`; return how many ticks went."""
        ...

    async def ticks(self, rollout: str, region: str) -> tuple[Json, ...]:
        """Return the recorded ticks of a rollout in one region, in order."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
