"""Opening a store: from the address in an environment file to a database of the right revision.

Imports its siblings; SQLAlchemy and alembic only when something has to be written or migrated. Commands and controllers
call `open_store` once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from environments.errors import SluiceError
from environments.redact import redact
from reconciler.ports import Store
from reconciler.store.failures import translated
from reconciler.store.reads import BUSY_S, EngineReader, Reader, SqliteReader, open_sqlite
from reconciler.store.sql import SqlStore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

REVISIONS = ("0001", "0002")
STATE_FOLDER = ".sluice"
_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql+psycopg://"
_MIGRATION_LOCK = 0x51_01_CE
_CONNECT_S = 5
_STORED_REVISION = "SELECT version_num FROM alembic_version"
_HAS_REVISION = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'",
    "postgresql": "SELECT 1 FROM pg_class WHERE oid = to_regclass('alembic_version')",
}


def open_store(url: str, *, home: Path, root: Path | None = None, clock: Callable[[], float] | None = None) -> Store:
    """Return the store at `url`, created or migrated when it is of an earlier revision.

    A relative SQLite path is relative to `root`, the folder that holds `environments/` (the parent of `home` when
    not given); one that begins with `.sluice/` is inside `home`, wherever that is. `clock` is for tests whose time is
    made up: leases then go by it instead of the database's clock.

    Raises:
        SluiceError: `STORE-005` a newer Sluice wrote it, `STORE-006` not an address of a store, and those of reading.
    """
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return _open_sqlite(sqlite_path(url, home=home, root=root), clock)
    if url.startswith(_POSTGRESQL):
        return _open_postgresql(url, clock)
    raise SluiceError(
        "STORE-006",
        where=redact(url),
        what="this is not the address of a store",
        why="known are sqlite:///PATH and postgresql+psycopg://USER@HOST/DATABASE",
        do="correct `store:` in the environment file",
    )


def sqlite_path(url: str, *, home: Path, root: Path | None = None) -> Path:
    """Return the file that a `sqlite:///…` address names."""
    path = Path(url.removeprefix(_SQLITE))
    if path.parts[0] == STATE_FOLDER:
        return home.joinpath(*path.parts[1:])
    return (root or home.parent) / path


def _open_sqlite(path: Path, clock: Callable[[], float] | None) -> Store:
    if not path.exists():
        _create_file(path)
    reader = SqliteReader(path)
    _ensure_revision(reader, "sqlite", lambda: _sqlite_engine(path))
    return SqlStore(reader, lambda: _sqlite_engine(path), clock=clock)


def _create_file(path: Path) -> None:
    doing = "create the database"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SluiceError(
            "STORE-001",
            where=str(path),
            what=f"could not {doing}",
            why=str(error),
            do="make room for it or allow this user to write there, or name another file in `store:`",
        ) from error
    with translated(str(path), doing, writing=True), closing(open_sqlite(path, create=True)):
        pass


def _open_postgresql(url: str, clock: Callable[[], float] | None) -> Store:
    engine = _postgresql_engine(url)
    reader = EngineReader(engine)
    _ensure_revision(reader, "postgresql", lambda: engine)
    return SqlStore(reader, lambda: engine, clock=clock)


def _ensure_revision(reader: Reader, dialect: str, engine: Callable[[], Engine]) -> None:
    """Migrate unless the stored revision is the newest one; one look when there is nothing to do."""
    [present] = reader.read("open the database", (_HAS_REVISION[dialect], {}))
    [stored] = reader.read("open the database", (_STORED_REVISION, {})) if present else [[]]
    revision = str(stored[0]["version_num"]) if stored else None
    if revision == REVISIONS[-1]:
        return
    _refuse_newer(reader.where, revision)
    with translated(reader.where, "bring the database up to date", writing=True):
        _migrate(engine())


def _refuse_newer(where: str, revision: str | None) -> None:
    if revision is None or revision in REVISIONS:
        return
    raise SluiceError(
        "STORE-005",
        where=where,
        what=f"the database is of revision {revision}, which this Sluice does not know (it knows {REVISIONS[-1]})",
        why="a newer Sluice has migrated it; an older one could damage it",
        do="use the newer Sluice, or name another database in `store:`",
    )


def _migrate(engine: Engine) -> None:
    """Run alembic under a lock that all processes share, in one transaction."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import text

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, REVISIONS[-1])


def _sqlite_engine(path: Path) -> Engine:
    """Return an engine that opens the file anew for each transaction, so that it never writes to a file moved away."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    def opened() -> sqlite3.Connection:
        return open_sqlite(path)

    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: str) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import ArgumentError

    # A pooler such as PgBouncer refuses startup options, and gives each transaction another connection: what holds is
    # said in each transaction, nothing is prepared, and no database's own default decides how transactions see others.
    how = {"connect_timeout": _CONNECT_S, "prepare_threshold": None}
    wait_ms = int(BUSY_S * 1000)
    limits = f"SET LOCAL lock_timeout = {wait_ms}; SET LOCAL idle_in_transaction_session_timeout = {3 * wait_ms}"
    try:
        engine = create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args=how)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(limits))
        return engine
    except ModuleNotFoundError as error:
        raise SluiceError(
            "STORE-006",
            where=redact(url),
            what="the driver for PostgreSQL is not installed",
            why=str(error),
            do="pip install 'sluice[postgres]'",
        ) from error
    except (ArgumentError, ValueError) as error:
        raise SluiceError(
            "STORE-006",
            where=redact(url),
            what="this is not an address of a PostgreSQL database",
            why=redact(str(error)),
            do="write it as postgresql+psycopg://USER@HOST:PORT/DATABASE; a password goes into PGPASSWORD or ~/.pgpass",
        ) from error
