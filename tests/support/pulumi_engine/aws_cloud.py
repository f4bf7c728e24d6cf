"""An AWS account that remembers: the resources that the fake provider made, in one file that outlives it.

Imports only the standard library. Called by `aws_provider` in its process and by tests in theirs, at the same time.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TABLES = (
    """CREATE TABLE IF NOT EXISTS resource (
       token TEXT, region TEXT, id TEXT, urn TEXT, inputs TEXT, outputs TEXT, PRIMARY KEY (token, region, id))""",
    "CREATE TABLE IF NOT EXISTS fault (kind TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS call (seq INTEGER PRIMARY KEY AUTOINCREMENT, verb TEXT, token TEXT, urn TEXT)",
)


class AlreadyExists(Exception):
    """A resource of that type has that id already."""


@dataclass(frozen=True)
class Resource:
    """One resource of the account, with what a program set and what it can read."""

    token: str
    region: str
    id: str
    urn: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call that changed the account: `create`, `update` or `delete`."""

    verb: str
    token: str
    urn: str


class AwsCloud:
    """The account. Two provider processes must not share one at the same time; a provider and a test may."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._open() as database:
            for table in _TABLES:
                database.execute(table)

    def resources(self, token: str = "") -> list[Resource]:
        """Return the resources of one type, or all, sorted by type, region and id."""
        query = "SELECT token, region, id, urn, inputs, outputs FROM resource WHERE ? IN ('', token) ORDER BY 1, 2, 3"
        with self._open() as database:
            rows = database.execute(query, (token,)).fetchall()
        return [Resource(t, r, i, u, json.loads(given), json.loads(made)) for t, r, i, u, given, made in rows]

    def find(self, token: str, region: str, identity: str) -> Resource | None:
        """Return one resource, or nothing."""
        query = "SELECT urn, inputs, outputs FROM resource WHERE token = ? AND region = ? AND id = ?"
        with self._open() as database:
            row = database.execute(query, (token, region, identity)).fetchone()
        if row is None:
            return None
        return Resource(token, region, identity, row[0], json.loads(row[1]), json.loads(row[2]))

    def has(self, identity: str) -> bool:
        """Return whether any resource has that id."""
        with self._open() as database:
            return bool(database.execute("SELECT 1 FROM resource WHERE id = ? LIMIT 1", (identity,)).fetchone())

    def add(self, resource: Resource) -> None:
        """Add a resource.

        Raises:
            AlreadyExists: its type, region and id are taken.
        """
        row = (resource.token, resource.region, resource.id, resource.urn)
        try:
            with self._open() as database:
                body = (json.dumps(resource.inputs), json.dumps(resource.outputs))
                database.execute("INSERT INTO resource VALUES (?, ?, ?, ?, ?, ?)", (*row, *body))
                self._record(database, "create", resource)
        except sqlite3.IntegrityError as taken:
            raise AlreadyExists(resource.id) from taken

    def change(self, resource: Resource) -> None:
        """Replace what a resource holds; add it if it is not there."""
        with self._open() as database:
            body = (json.dumps(resource.inputs), json.dumps(resource.outputs))
            row = (resource.token, resource.region, resource.id, resource.urn, *body)
            database.execute("INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?, ?, ?)", row)
            self._record(database, "update", resource)

    def remove(self, resource: Resource) -> None:
        """Remove a resource; succeed if it is already absent."""
        with self._open() as database:
            where = (resource.token, resource.region, resource.id)
            database.execute("DELETE FROM resource WHERE token = ? AND region = ? AND id = ?", where)
            self._record(database, "delete", resource)

    def unprotect(self) -> None:
        """Take deletion protection off everything, as a person does before a production stack is destroyed."""
        for found in self.resources():
            if found.inputs.get("deletionProtection") is True:
                off = {"deletionProtection": False}
                self.change(dataclasses.replace(found, inputs=found.inputs | off, outputs=found.outputs | off))

    def use(self, name: str) -> None:
        """Remember that a name is taken for good, such as that of a snapshot."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO fault VALUES (?, '')", (f"used {name}",))

    def was_used(self, name: str) -> bool:
        """Return whether a name is taken for good."""
        with self._open() as database:
            return bool(database.execute("SELECT 1 FROM fault WHERE kind = ?", (f"used {name}",)).fetchone())

    def calls(self) -> list[Call]:
        """Return every change since the last `forget_calls`, in order."""
        with self._open() as database:
            return [Call(*row) for row in database.execute("SELECT verb, token, urn FROM call ORDER BY seq")]

    def changes_since(self, urn: str) -> int | None:
        """Return how many changes the account has seen since a resource was made; None where nobody remembers."""
        with self._open() as database:
            query = "SELECT max(seq) FROM call WHERE verb = 'create' AND urn = ?"
            made = database.execute(query, (urn,)).fetchone()[0]
            last = database.execute("SELECT max(seq) FROM call").fetchone()[0]
        return None if made is None else int(last - made)

    def note_retry(self, token: str) -> None:
        """Remember that the provider had to ask again for a resource of this type."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO fault VALUES (?, '')", (f"retried {token}",))

    def was_retried(self, token: str) -> bool:
        """Return whether the provider had to ask again for a resource of this type."""
        with self._open() as database:
            return bool(database.execute("SELECT 1 FROM fault WHERE kind = ?", (f"retried {token}",)).fetchone())

    def forget_calls(self) -> None:
        """Forget the changes so far, so that a test can look at those of one command."""
        with self._open() as database:
            database.execute("DELETE FROM call")

    def die_after(self, creates: int) -> None:
        """Make the provider's process die when it is asked for one resource more than this, once."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO fault VALUES ('die', ?)", (str(creates),))

    def refuse(self, token: str, message: str) -> None:
        """Make the provider refuse to create this type with this message, until `allow`."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO fault VALUES (?, ?)", (f"refuse {token}", message))

    def allow(self) -> None:
        """Take every fault back."""
        with self._open() as database:
            database.execute("DELETE FROM fault WHERE kind NOT LIKE 'used %'")

    def refusal(self, token: str) -> str:
        """Return the message to refuse a type with, or nothing."""
        with self._open() as database:
            row = database.execute("SELECT value FROM fault WHERE kind = ?", (f"refuse {token}",)).fetchone()
        return str(row[0]) if row else ""

    def spend_life(self) -> bool:
        """Count one creation; return whether the provider must die instead of making it."""
        with self._open() as database:
            row = database.execute("SELECT CAST(value AS INTEGER) FROM fault WHERE kind = 'die'").fetchone()
            if row is None:
                return False
            if row[0] <= 0:
                database.execute("DELETE FROM fault WHERE kind = 'die'")
                return True
            database.execute("UPDATE fault SET value = ? WHERE kind = 'die'", (str(row[0] - 1),))
            return False

    @staticmethod
    def _record(database: sqlite3.Connection, verb: str, resource: Resource) -> None:
        database.execute("INSERT INTO call (verb, token, urn) VALUES (?, ?, ?)", (verb, resource.token, resource.urn))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction; a connection belongs to one thread, and gRPC has many."""
        database = sqlite3.connect(self._file, timeout=30, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        finally:
            database.close()
