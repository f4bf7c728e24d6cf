"""Everything that is written to the store, each function inside a transaction that its caller opened.

Imports SQLAlchemy, and is therefore imported on the first write. In SQLite that transaction is IMMEDIATE; in PostgreSQL
rows are locked in the order lease, then rollout or ledger head, so that two writers never wait for each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, delete, insert, select, text, update

from environments.errors import SluiceError
from reconciler.core.canonical import Json, canonical_json
from reconciler.ports import Entry, Lease, NewEntry, StoredRollout
from reconciler.store.ledger import GENESIS, Head, seal
from reconciler.store.schema import heads, leases, ledger, rollouts, ticks

Clock = Callable[[Connection], float]
MARGIN_S = 1.0
"""A lease that has less than this left permits no write: what it permits must be over before somebody else begins."""
_NOW = {
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": text("SELECT extract(epoch FROM clock_timestamp())"),
}
_FREE_LEASE = text(
    "INSERT INTO leases (name, owner, token, expires_at) VALUES (:name, NULL, 0, 0) ON CONFLICT DO NOTHING"
)
_FIRST_HEAD = text(
    "INSERT INTO ledger_heads (environment, seq, hash) VALUES (:environment, 0, :hash) ON CONFLICT DO NOTHING"
)


def acquire(connection: Connection, name: str, owner: str, *, ttl_s: float, clock: Clock) -> Lease:
    """Take a free, expired or own lease. The token is a counter in the row: no clock can give it out twice."""
    connection.execute(_FREE_LEASE, {"name": name})
    row = _locked_lease(connection, name)
    now = clock(connection)
    if row["owner"] not in (None, owner) and row["expires_at"] > now:
        raise _held(name, str(row["owner"]), float(row["expires_at"]) - now)
    token = int(row["token"]) + (row["owner"] != owner)
    values = {"owner": owner, "token": token, "expires_at": now + ttl_s}
    connection.execute(update(leases).where(leases.c.name == name).values(values))
    return Lease(name, owner, token, ttl_s)


def renew(connection: Connection, lease: Lease, *, ttl_s: float, clock: Clock) -> Lease:
    """Extend a lease that is still ours."""
    _ours(connection, lease, f"renew the lease {lease.name}", shared=False)
    connection.execute(update(leases).where(_is(lease)).values(expires_at=clock(connection) + ttl_s))
    return Lease(lease.name, lease.owner, lease.token, ttl_s)


def give_back(connection: Connection, lease: Lease) -> None:
    """Give a lease back, keeping its token so that the next one is higher."""
    connection.execute(update(leases).where(_is(lease)).values(owner=None, expires_at=0.0))


def break_lease(connection: Connection, name: str, owner: str) -> None:
    """Expire a dead owner's lease."""
    connection.execute(update(leases).where(leases.c.name == name, leases.c.owner == owner).values(expires_at=0.0))


def guard(connection: Connection, lease: Lease, doing: str, *, clock: Clock) -> None:
    """Refuse a lease that is not ours any more, or is about to run out; nobody can take it before the transaction ends.

    Raises:
        SluiceError: `LEASE-002`.
    """
    row = _ours(connection, lease, doing, shared=True)
    left_s = float(row["expires_at"]) - clock(connection)
    if left_s < MARGIN_S:
        raise _run_out(lease, left_s, doing)


def _ours(connection: Connection, lease: Lease, doing: str, *, shared: bool) -> RowMapping:
    row: RowMapping | None = _locked_lease(connection, lease.name, shared=shared)
    if row is None or (row["owner"], row["token"]) != (lease.owner, lease.token):
        raise _lost(lease, row, doing)
    return row


def create_rollout(
    connection: Connection,
    environment: str,
    endpoint: str,
    id: str,
    *,
    body: Json,
    lease: Lease,
    entries: Sequence[NewEntry] = (),
    clock: Clock,
) -> StoredRollout:
    """Store a new active rollout; return the one that is there when it is this very one."""
    guard(connection, lease, f"create rollout {id}", clock=clock)
    mine = (rollouts.c.environment == environment, rollouts.c.endpoint == endpoint, rollouts.c.active)
    present = connection.execute(select(rollouts.c.id, rollouts.c.version, rollouts.c.body).where(*mine)).first()
    if present and tuple(present) != (id, 1, canonical_json(body)):
        raise active_rollout(environment, endpoint, str(present.id))
    if not present:
        values = {"id": id, "environment": environment, "endpoint": endpoint, "active": True, "version": 1}
        connection.execute(insert(rollouts).values(**values, body=canonical_json(body)))
        for entry in entries:
            append(connection, entry, lease=None, clock=clock)
    return StoredRollout(id, environment, endpoint, active=True, version=1, body=body)


def save_rollout(
    connection: Connection,
    rollout: StoredRollout,
    body: Json,
    *,
    active: bool,
    lease: Lease | None,
    entries: Sequence[NewEntry] = (),
    clock: Clock,
) -> StoredRollout:
    """Replace a rollout's body if its version has not moved, and tell the ledger in the same transaction."""
    if lease:
        guard(connection, lease, f"save rollout {rollout.id}", clock=clock)
    same = and_(rollouts.c.id == rollout.id, rollouts.c.version == rollout.version)
    values: dict[str, Any] = {"body": canonical_json(body), "active": active, "version": rollout.version + 1}
    if connection.execute(update(rollouts).where(same).values(values)).rowcount != 1:
        raise _moved(connection, rollout)
    for entry in entries:
        append(connection, entry, lease=None, clock=clock)
    return StoredRollout(rollout.id, rollout.environment, rollout.endpoint, active, rollout.version + 1, body)


def append(connection: Connection, draft: NewEntry, *, lease: Lease | None, clock: Clock) -> Entry:
    """Append an entry and move the chain's head on to it."""
    if lease:
        guard(connection, lease, f'write ledger entry "{draft.kind}" for {draft.address}', clock=clock)
    chain = {"environment": draft.environment, "hash": GENESIS}
    connection.execute(_FIRST_HEAD, chain)
    of_chain = heads.c.environment == draft.environment
    row = connection.execute(select(heads.c.seq, heads.c.hash).where(of_chain).with_for_update()).one()
    entry = seal(draft, Head(int(row.seq), str(row.hash)))
    values = {c.name: getattr(entry, c.name) for c in ledger.columns} | {"body": canonical_json(entry.body)}
    connection.execute(insert(ledger).values(values))
    connection.execute(update(heads).where(of_chain).values(seq=entry.seq, hash=entry.hash))
    return entry


def add_tick(
    connection: Connection, rollout: str, region: str, *, body: Json, lease: Lease | None, clock: Clock
) -> None:
    """Record one judge tick."""
    if lease:
        guard(connection, lease, f"record a tick of rollout {rollout}", clock=clock)
    connection.execute(insert(ticks).values(rollout=rollout, region=region, body=canonical_json(body)))


def prune_ticks(connection: Connection, environment: str, endpoint: str, *, keep: int) -> int:
    """Delete the ticks of ended rollouts but the newest `keep`."""
    of_endpoint = and_(rollouts.c.environment == environment, rollouts.c.endpoint == endpoint)
    kept = select(rollouts.c.id).where(of_endpoint).order_by(rollouts.c.number.desc()).limit(keep)
    old = select(rollouts.c.id).where(of_endpoint, ~rollouts.c.active, rollouts.c.id.not_in(kept.scalar_subquery()))
    return int(connection.execute(delete(ticks).where(ticks.c.rollout.in_(old))).rowcount)


def active_rollout(environment: str, endpoint: str, present: str | None) -> SluiceError:
    """Return the error that says that an endpoint is being rolled out already."""
    return SluiceError(
        "STORE-003",
        where=f"{environment}/{endpoint}",
        what="the endpoint has an active rollout already" + (f": {present}" if present else ""),
        why="two rollouts of one endpoint would fight over its slots",
        do=f"`sluice status {environment}` shows it; wait for it, or end it with `sluice abort`",
    )


def head_behind(environment: str) -> SluiceError:
    """Return the error that says that a chain has entries after its head."""
    return SluiceError(
        "STORE-009",
        where=environment,
        what="the ledger has an entry where the next one belongs; nothing was written",
        why="the head of its chain was moved back by hand",
        do=f"`sluice ledger verify {environment}` names the entry; put back a copy of the database",
    )


def _locked_lease(connection: Connection, name: str, *, shared: bool = False) -> RowMapping | Any:
    query = select(leases).where(leases.c.name == name).with_for_update(read=shared)
    return connection.execute(query).mappings().first()


def _is(lease: Lease) -> Any:
    return and_(leases.c.name == lease.name, leases.c.owner == lease.owner, leases.c.token == lease.token)


def _held(name: str, owner: str, left_s: float) -> SluiceError:
    return SluiceError(
        "LEASE-001",
        where=name,
        what=f"{owner} is working on it",
        why=f"its lease runs for another {left_s:.0f} s and is renewed while it lives",
        do="wait for it, or watch it with `sluice status --watch`",
        retryable=True,
    )


def _lost(lease: Lease, row: Any, doing: str) -> SluiceError:
    if row is None or row["owner"] is None:
        now = "nobody has it now"
    else:
        now = f"{row['owner']} has it now, with token {row['token']}"
    return SluiceError(
        "LEASE-002",
        where=lease.name,
        what=f"refused to {doing}: {lease.owner} no longer has the lease it took with token {lease.token}",
        why=f"{now}; an owner that slept past its lease must not write",
        do="run the same command again: it attaches to the rollout or says who owns it",
    )


def _run_out(lease: Lease, left_s: float, doing: str) -> SluiceError:
    return SluiceError(
        "LEASE-002",
        where=lease.name,
        what=f"refused to {doing}: the lease of {lease.owner} has {max(left_s, 0.0):.1f} s left",
        why="what is done under a lease must be over before somebody else can take it",
        do="run the same command again: it takes the lease anew, or says who has it",
    )


def database_clock(connection: Connection) -> float:
    """Return the database's own time in epoch seconds: the one clock that all owners share."""
    return float(connection.execute(_NOW[connection.dialect.name]).scalar_one())


def _moved(connection: Connection, rollout: StoredRollout) -> SluiceError:
    version = connection.execute(select(rollouts.c.version).where(rollouts.c.id == rollout.id)).scalar()
    now = "it is gone" if version is None else f"it is at version {json.dumps(version)} by now"
    return SluiceError(
        "STORE-002",
        where=f"{rollout.environment}/{rollout.endpoint}",
        what=f"rollout {rollout.id} was not saved: {now}, and version {rollout.version} was to be replaced",
        why="someone else saved it in between",
        do="read it again and repeat the change",
        retryable=version is not None,
    )
