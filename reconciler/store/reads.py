"""Everything that is read from the store. Imports only the standard library, the core and the ports.

The statements are plain SQL that both databases understand, because importing SQLAlchemy takes half of the second in
which `sluice plan` has to answer: for SQLite they run over `sqlite3`, for PostgreSQL over SQLAlchemy.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.ports import Entry, Lease, StoredRollout
from reconciler.store.failures import translated
from reconciler.store.ledger import Head

if TYPE_CHECKING:
    from sqlalchemy import Engine

PAGE = 500
BUSY_S = 10.0
Row = Mapping[str, Any]

_ENTRIES = """SELECT environment, seq, at, actor, kind, address, rollout, summary, body, prev, hash
    FROM ledger WHERE environment = :environment AND seq > :after AND seq < :before ORDER BY seq {order} LIMIT :page"""
_NEWEST = """SELECT environment, seq, at, actor, kind, address, rollout, summary, body, prev, hash
    FROM ledger WHERE environment = :environment AND kind = :kind AND seq IN
    (SELECT max(seq) FROM ledger WHERE environment = :environment AND kind = :kind GROUP BY address)
    ORDER BY address"""
_HEAD = "SELECT seq, hash FROM ledger_heads WHERE environment = :environment"
_ROLLOUTS = """SELECT id, environment, endpoint, active, version, body FROM rollouts
    WHERE environment = :environment {where} ORDER BY number DESC LIMIT :limit"""
_ROLLOUT = "SELECT id, environment, endpoint, active, version, body FROM rollouts WHERE id = :id"
_VERSIONS = "SELECT id, version FROM rollouts WHERE environment = :environment AND active"
_LEASE = """SELECT name, owner, token, expires_at - {now} AS left_s FROM leases
    WHERE name = :name AND owner IS NOT NULL"""
_TICKS = "SELECT body FROM ticks WHERE rollout = :rollout AND region = :region ORDER BY number"
_END = 2**62


class Reader(Protocol):
    """Runs statements in one read transaction, so that several of them see the same moment."""

    now: str
    """The database's own time in epoch seconds, as SQL."""

    @property
    def where(self) -> str:
        """Return the database's address without its password."""
        ...

    def read(self, doing: str, *statements: tuple[str, Row]) -> list[list[Row]]:
        """Return the rows of each statement.

        Raises:
            SluiceError: `STORE-004`, `STORE-007`, `STORE-008`.
        """
        ...


class SqliteReader:
    """Reads a SQLite file; it must exist already."""

    now = "(julianday('now') - 2440587.5) * 86400.0"

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def where(self) -> str:
        """Return the file's path."""
        return str(self._path)

    def read(self, doing: str, *statements: tuple[str, Row]) -> list[list[Row]]:
        """Return the rows of each statement."""
        with translated(self.where, doing, writing=False), closing(open_sqlite(self._path)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            return [[dict(row) for row in connection.execute(sql, values)] for sql, values in statements]


class EngineReader:
    """Reads a PostgreSQL database over SQLAlchemy."""

    now = "extract(epoch FROM clock_timestamp())"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def where(self) -> str:
        """Return the database's address without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    def read(self, doing: str, *statements: tuple[str, Row]) -> list[list[Row]]:
        """Return the rows of each statement."""
        from sqlalchemy import text

        with translated(self.where, doing, writing=False), self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            results = (connection.execute(text(sql), dict(values)).mappings() for sql, values in statements)
            return [[dict(row) for row in result] for result in results]


def open_sqlite(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """Open a SQLite file so that a commit survives a power cut; without `create` a missing file is an error.

    The journal is a rollback journal that is truncated rather than a write-ahead log: a reader then needs no room on a
    full disk, and nothing but the file itself holds the state.
    """
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def read_entries(reader: Reader, environment: str, *, newest_first: bool, after: int) -> tuple[Entry, ...]:
    """Return a page of ledger entries past sequence number `after` (0: from the end that is asked for)."""
    values = {
        "environment": environment,
        "after": 0 if newest_first else after,
        "before": (after or _END) if newest_first else _END,
        "page": PAGE,
    }
    sql = _ENTRIES.format(order="DESC" if newest_first else "ASC")
    [rows] = reader.read(f"read the ledger of {environment}", (sql, values))
    return tuple(_entry(row) for row in rows)


def read_newest(reader: Reader, environment: str, kind: str) -> tuple[Entry, ...]:
    """Return the newest entry of a kind for each address."""
    values = {"environment": environment, "kind": kind}
    [rows] = reader.read(f"read the ledger of {environment}", (_NEWEST, values))
    return tuple(_entry(row) for row in rows)


class Chain:
    """A whole chain, page by page, with the head as it stood when the last page was read.

    Each page is a short transaction: entries are only ever appended, so pages of different moments fit together.
    """

    def __init__(self, reader: Reader, environment: str) -> None:
        self._reader = reader
        self._environment = environment
        self.head: Head | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield all entries in order; `head` is set when they are exhausted."""
        after = 0
        while True:
            page = {"environment": self._environment, "after": after, "before": _END, "page": PAGE}
            rows, heads = self._reader.read(
                f"read the ledger of {self._environment}",
                (_ENTRIES.format(order="ASC"), page),
                (_HEAD, {"environment": self._environment}),
            )
            self.head = Head(int(heads[0]["seq"]), str(heads[0]["hash"])) if heads else None
            yield from (_entry(row) for row in rows)
            if len(rows) < PAGE:
                return
            after = int(rows[-1]["seq"])


def read_rollouts(
    reader: Reader, environment: str, *, endpoint: str | None, active: bool | None, limit: int | None
) -> tuple[StoredRollout, ...]:
    """Return rollouts, newest first."""
    where = "AND endpoint = :endpoint " if endpoint is not None else ""
    where += "" if active is None else "AND active " if active else "AND NOT active "
    values = {"environment": environment, "limit": _END if limit is None else limit} | (
        {} if endpoint is None else {"endpoint": endpoint}
    )
    [rows] = reader.read(f"read the rollouts of {environment}", (_ROLLOUTS.format(where=where), values))
    return tuple(_rollout(reader.where, row) for row in rows)


def read_versions(reader: Reader, environment: str) -> dict[str, int]:
    """Return the version of every active rollout by its id."""
    [rows] = reader.read(f"read the rollouts of {environment}", (_VERSIONS, {"environment": environment}))
    return {str(row["id"]): int(row["version"]) for row in rows}


def read_rollout(reader: Reader, id: str) -> StoredRollout | None:
    """Return one rollout by its id, None when there is none."""
    [rows] = reader.read(f"read rollout {id}", (_ROLLOUT, {"id": id}))
    return next((_rollout(reader.where, row) for row in rows), None)


def read_lease(reader: Reader, name: str, now: float | None = None) -> Lease | None:
    """Return the lease as it stands, expired or not; None when nobody has taken it since it was given back.

    `now` takes the place of the database's clock.
    """
    sql = _LEASE.format(now=reader.now if now is None else ":now")
    [rows] = reader.read(f"read the lease {name}", (sql, {"name": name} | ({} if now is None else {"now": now})))
    return next((Lease(r["name"], r["owner"], int(r["token"]), float(r["left_s"])) for r in rows), None)


def read_ticks(reader: Reader, rollout: str, region: str) -> tuple[Json, ...]:
    """Return the recorded ticks of a rollout in one region, in order."""
    values = {"rollout": rollout, "region": region}
    [rows] = reader.read(f"read the ticks of rollout {rollout}", (_TICKS, values))
    return tuple(_json(reader.where, row["body"]) for row in rows)


def _entry(row: Row) -> Entry:
    """Decode a row as it is: what cannot be decoded is kept, so that the chain's check can name it."""
    try:
        body = json.loads(row["body"])
    except (TypeError, ValueError):
        body = {"unreadable": str(row["body"])}
    return Entry(**{**row, "seq": int(row["seq"]), "body": body})


def _rollout(where: str, row: Row) -> StoredRollout:
    fixed = {"active": bool(row["active"]), "version": int(row["version"]), "body": _json(where, row["body"])}
    return StoredRollout(**{**row, **fixed})


def _json(where: str, text: str) -> Json:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise SluiceError(
            "STORE-007",
            where=where,
            what="a stored record is not JSON",
            why=str(error),
            do="put back a copy of the database; `sluice ledger verify` tells whether the ledger is sound",
        ) from error
    if not isinstance(body, dict):
        raise SluiceError("STORE-007", where=where, what="a stored record is not a JSON object", why=repr(body)[:80])
    return body
