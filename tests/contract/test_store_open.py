"""Opening a store: addresses, revisions, damage, and what is not imported for it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.ports import NewEntry
from reconciler.store.connect import REVISIONS, open_store, sqlite_path
from tests.contract.conftest import Database
from tests.contract.test_store_tampering import execute

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///.sluice/prod.db", "/elsewhere/state/prod.db"),
        ("sqlite:///.sluice/deep/prod.db", "/elsewhere/state/deep/prod.db"),
        ("sqlite:///data/prod.db", "/project/data/prod.db"),
        ("sqlite:////var/lib/prod.db", "/var/lib/prod.db"),
    ],
)
def test_where_a_relative_file_is(url: str, path: str) -> None:
    assert sqlite_path(url, home=Path("/elsewhere/state"), root=Path("/project")) == Path(path)


def test_without_a_root_it_is_beside_the_home() -> None:
    assert sqlite_path("sqlite:///x.db", home=Path("/p/.sluice")) == Path("/p/x.db")


@pytest.mark.parametrize(
    "url", ["mysql://ann:hunter2@db/x", "sqlite://", "sqlite:///", "postgresql://db/x", "prod.db", ""]
)
def test_an_unknown_address_names_the_known_ones(url: str, tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as refused:
        open_store(url, home=tmp_path)
    assert refused.value.code == "STORE-006"
    assert "sqlite:///PATH and postgresql+psycopg://" in refused.value.problem.why
    assert "hunter2" not in str(refused.value)


def test_a_malformed_server_address_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as refused:
        open_store("postgresql+psycopg://ann:hunter2@db:port/x", home=tmp_path)
    assert refused.value.code == "STORE-006"
    assert "hunter2" not in str(refused.value)


def test_an_unreachable_server_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SluiceError) as refused:
        open_store(f"postgresql+psycopg://ann:hunter2@/x?host={tmp_path}", home=tmp_path)
    assert (refused.value.code, refused.value.retryable) == ("STORE-008", True)
    assert "hunter2" not in str(refused.value)


async def test_a_newer_database_is_refused(database: Database) -> None:
    await database.open().close()
    execute(database, ["UPDATE alembic_version SET version_num = '9999'"])
    with pytest.raises(SluiceError) as refused:
        database.open()
    assert refused.value.code == "STORE-005"
    assert "9999" in refused.value.problem.what


async def test_migrations_make_the_tables_that_the_store_uses(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import URL, create_engine

    from reconciler.store.schema import with_partial_indexes

    await database.open().close()
    file = URL.create("sqlite", database=str(sqlite_path(database.url, home=database.home)))
    engine = create_engine(file if database.kind == "sqlite" else database.url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == REVISIONS[-1]
        assert compare_metadata(context, with_partial_indexes()) == []
    engine.dispose()


@pytest.mark.parametrize("content", [b"this is not a database, but it is long enough" * 50, b"SQLite format 3\x00" * 9])
def test_a_damaged_file_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(SluiceError) as refused:
        open_store("sqlite:///x.db", home=tmp_path / ".sluice")
    assert refused.value.code == "STORE-007"
    assert (tmp_path / "x.db").read_bytes() == content


def test_a_file_in_the_way_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / ".sluice").write_text("")
    with pytest.raises(SluiceError, match="STORE-001"):
        open_store("sqlite:///.sluice/x.db", home=tmp_path / ".sluice")


def test_an_unfinished_first_migration_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"")
    open_store("sqlite:///x.db", home=tmp_path / ".sluice")
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]


def test_reading_a_sqlite_store_does_not_import_sqlalchemy(tmp_path: Path) -> None:
    open_store("sqlite:///x.db", home=tmp_path / ".sluice")
    code = (
        "import asyncio, sys, pathlib; from reconciler.store.connect import open_store;"
        f"store = open_store('sqlite:///x.db', home=pathlib.Path({str(tmp_path / '.sluice')!r}));"
        "print(asyncio.run(store.rollouts('prod')), [m for m in sys.modules if m in ('sqlalchemy', 'alembic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "() []"


async def test_a_migration_that_fails_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import command

    true_upgrade = command.upgrade

    def fails(config: Any, revision: str) -> None:
        true_upgrade(config, revision)
        raise sqlite3.OperationalError("the machine was switched off")

    monkeypatch.setattr(command, "upgrade", fails)
    with pytest.raises(SluiceError, match="STORE-001"):
        database.open()
    monkeypatch.setattr(command, "upgrade", true_upgrade)
    store = database.open()
    assert await store.rollouts("prod") == ()
    assert (await store.append(NewEntry("prod", at="", actor="", kind="", address="", summary=""))).seq == 1
    await store.close()


async def test_a_folder_may_have_an_odd_name(tmp_path: Path) -> None:
    home = tmp_path / "it's 100 % ours?#x&mode=ro" / ".sluice"
    for _ in range(2):
        store = open_store("sqlite:///.sluice/x.db", home=home)
        await store.append(NewEntry("prod", at="", actor="", kind="", address="", summary=""))
        await store.close()
    assert (await open_store("sqlite:///.sluice/x.db", home=home).verify("prod")).checked == 2
    assert (home / "x.db").stat().st_size > 0
