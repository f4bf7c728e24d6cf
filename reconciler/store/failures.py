"""What a database's own error means to a person. Imports only the standard library and `environments.errors`.

Both drivers are recognised by the attributes of their exceptions, so that neither is imported here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from environments.errors import SluiceError

_DISK = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PG_DISK = ("53100", "58030")
_PG_BUSY = ("40001", "40P01", "55P03", "57014")
_FREE_SPACE = "free space on the disk that holds the database, then run the same command again"


@contextmanager
def translated(where: str, doing: str, *, writing: bool) -> Iterator[None]:
    """Turn a driver's error inside the block into a coded one that says what was not done.

    `doing` completes "… could not be done", such as `write ledger entry "weigh" for prod/eu/chat`.

    Raises:
        SluiceError: `STORE-001` not written, `STORE-004` busy (retryable), `STORE-007` damaged, `STORE-008` not read.
    """
    try:
        yield
    except SluiceError:
        raise
    except Exception as error:
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, sqlite3.Error):
            raise _sqlite(cause, where, doing, writing) from error
        if hasattr(cause, "sqlstate") or type(error).__module__.startswith("sqlalchemy."):
            raise _postgres(cause, where, doing, writing) from error
        raise


def unique_violation(error: Exception) -> bool:
    """Return whether a driver's error says that a row with this key is there already."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) in (
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        )
    return getattr(cause, "sqlstate", None) == "23505"


def _sqlite(cause: sqlite3.Error, where: str, doing: str, writing: bool) -> SluiceError:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return _busy(where, doing, str(cause))
    if code in _DAMAGED:
        return SluiceError(
            "STORE-007",
            where=where,
            what=f"could not {doing}: the file is damaged or no SQLite database",
            why=str(cause),
            do="put back a copy of the file, or move it away to begin with an empty ledger",
        )
    if writing and code in _DISK:
        return _not_written(where, doing, str(cause), _FREE_SPACE, retryable=True)
    return _unreachable(where, doing, str(cause), writing)


def _postgres(cause: Exception, where: str, doing: str, writing: bool) -> SluiceError:
    state = getattr(cause, "sqlstate", None) or ""
    text = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    if state in _PG_BUSY:
        return _busy(where, doing, text)
    if writing and state in _PG_DISK:
        return _not_written(where, doing, text, _FREE_SPACE, retryable=True)
    return _unreachable(where, doing, text, writing)


def _busy(where: str, doing: str, why: str) -> SluiceError:
    return SluiceError(
        "STORE-004",
        where=where,
        what=f"could not {doing}: another process kept the database busy",
        why=why,
        do="run the same command again; if it stays so, look for a stopped `sluice` process",
        retryable=True,
    )


def _not_written(where: str, doing: str, why: str, do: str, *, retryable: bool) -> SluiceError:
    return SluiceError(
        "STORE-001",
        where=where,
        what=f"could not {doing}; nothing of it was written",
        why=why,
        do=do,
        retryable=retryable,
    )


def _unreachable(where: str, doing: str, why: str, writing: bool) -> SluiceError:
    do = "check that the database is there and that this user may use it, then run the same command again"
    if writing:
        return _not_written(where, doing, why, do, retryable=True)
    return SluiceError("STORE-008", where=where, what=f"could not {doing}", why=why, do=do, retryable=True)
