"""A ledger that was changed behind the store's back is found out, and the entry is named; on both databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.ports import Entry, NewEntry
from reconciler.store.connect import sqlite_path
from reconciler.store.ledger import GENESIS, Head, entry_hash, seal, verify
from tests.contract.conftest import Database

LENGTH = 10
CASES = {
    "changed": (["UPDATE ledger SET summary = 'nothing happened' WHERE seq = 5"], 5, "entry 5 was changed"),
    "changed body": (["UPDATE ledger SET body = '{\"n\":99}' WHERE seq = 5"], 5, "entry 5 was changed"),
    "body is no JSON": (["UPDATE ledger SET body = 'gone' WHERE seq = 5"], 5, "entry 5 was changed"),
    "removed": (["DELETE FROM ledger WHERE seq = 5"], 5, "entry 5 was removed"),
    "first removed": (["DELETE FROM ledger WHERE seq <= 2"], 1, "entries 1 to 2 were removed"),
    "removed and renumbered": (
        [
            "DELETE FROM ledger WHERE seq = 5",
            *(f"UPDATE ledger SET seq = {n - 1} WHERE seq = {n}" for n in range(6, 11)),
        ],
        5,
        "entry 5 was removed",
    ),
    "tail cut": (["DELETE FROM ledger WHERE seq >= 9"], 9, "entries 9 to 10 were removed from the end"),
    "all removed": (["DELETE FROM ledger"], 1, "entries 1 to 10 were removed from the end"),
    "reordered": (
        [
            "UPDATE ledger SET seq = 500 WHERE seq = 5",
            "UPDATE ledger SET seq = 5 WHERE seq = 6",
            "UPDATE ledger SET seq = 6 WHERE seq = 500",
        ],
        5,
        "entries were reordered: entry 6 stands at place 5",
    ),
    "head removed": (["DELETE FROM ledger_heads"], 10, "head of the chain was removed"),
    "head moved back": (["UPDATE ledger_heads SET seq = 9"], 10, "entry 10 was inserted at the end"),
    "hash changed": ([f"UPDATE ledger SET hash = '{GENESIS}' WHERE seq = 5"], 5, "entry 5 was changed"),
}


def execute(database: Database, statements: list[str], *, triggers: bool = False) -> None:
    """Run SQL as someone with full access to the database would; unless `triggers`, with the guards taken off."""
    if database.kind == "sqlite":
        _execute_sqlite(sqlite_path(database.url, home=database.home), statements, triggers=triggers)
    else:
        _execute_postgresql(database.url, statements, triggers=triggers)


def _execute_sqlite(path: Path, statements: list[str], *, triggers: bool) -> None:
    import sqlite3

    with closing(sqlite3.connect(path)) as connection:
        guards = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        assert len(guards) == 4
        for (name,) in [] if triggers else guards:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _execute_postgresql(url: str, statements: list[str], *, triggers: bool) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        off = [] if triggers else [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("ledger", "ledger_heads")]
        for statement in [*off, *statements]:
            connection.execute(statement.encode())


async def write(database: Database) -> list[Entry]:
    store = database.open()
    entries = [
        await store.append(
            NewEntry(
                "prod", at="", actor="ann", kind="weigh", address="prod/eu/chat", summary=f"step {n}", body={"n": n}
            )
        )
        for n in range(LENGTH)
    ]
    await store.close()
    return entries


@pytest.mark.parametrize("case", CASES)
async def test_tampering_is_named(database: Database, case: str) -> None:
    statements, seq, problem = CASES[case]
    await write(database)
    store = database.open()
    assert (await store.verify("prod")).ok
    execute(database, statements)
    found = await store.verify("prod")
    assert not found.ok
    assert found.problem is not None
    assert problem in found.problem
    assert (found.seq, found.checked) == (seq, seq if "head" in case else seq - 1)
    await store.close()


async def test_an_entry_with_a_new_hash_of_its_own_does_not_fit(database: Database) -> None:
    entries = await write(database)
    draft = NewEntry("prod", "", "ann", "weigh", "prod/eu/chat", "nothing happened", None, {})
    forged = seal(draft, Head(4, entries[3].hash))
    assert forged.seq == 5
    execute(
        database,
        [f"UPDATE ledger SET summary = 'nothing happened', body = '{{}}', hash = '{forged.hash}' WHERE seq = 5"],
    )
    found = await database.open().verify("prod")
    assert (found.ok, found.seq) == (False, 6)
    assert "entry 6 does not follow entry 5" in (found.problem or "")


async def test_an_inserted_entry_is_named(database: Database) -> None:
    entries = await write(database)
    draft = NewEntry("prod", "", "eve", "weigh", "prod/eu/chat", "approved", None, {})
    forged = seal(draft, Head(4, entries[3].hash))
    shift = [f"UPDATE ledger SET seq = {n + 1} WHERE seq = {n}" for n in range(10, 4, -1)]
    row = f"('prod', 5, '', 'eve', 'weigh', 'prod/eu/chat', NULL, 'approved', '{{}}', '{forged.prev}', '{forged.hash}')"
    execute(database, [*shift, f"INSERT INTO ledger VALUES {row}"])
    found = await database.open().verify("prod")
    assert "entry 5 stands at place 6: an entry was inserted before it" in (found.problem or "")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET summary = 'x'",
        "DELETE FROM ledger WHERE seq = 10",
        "DELETE FROM ledger_heads",
        "UPDATE ledger_heads SET seq = 3",
    ],
)
async def test_the_database_itself_refuses_changes(database: Database, statement: str) -> None:
    await write(database)
    with pytest.raises(Exception, match=r"append-only|head of a ledger"):
        execute(database, [statement], triggers=True)
    assert await database.open().verify("prod") == await database.open().verify("prod")
    assert (await database.open().verify("prod")).ok


async def test_appending_to_a_chain_whose_head_was_moved_back_is_refused(database: Database) -> None:
    await write(database)
    execute(database, ["UPDATE ledger_heads SET seq = 9"])
    store = database.open()
    with pytest.raises(SluiceError) as refused:
        await store.append(NewEntry("prod", at="", actor="", kind="weigh", address="", summary=""))
    assert refused.value.code == "STORE-009"
    assert "ledger verify" in refused.value.problem.do


def test_an_exported_chain_is_checked_without_a_head() -> None:
    chain: list[Entry] = []
    for n in range(6):
        last = Head(chain[-1].seq, chain[-1].hash) if chain else Head(0, GENESIS)
        chain.append(seal(NewEntry("prod", "", "", "k", "", str(n), None, {}), last))
    assert verify(chain).ok
    assert verify([]).ok
    assert verify(chain[1:]).problem == "entry 1 was removed: entry 2 stands next"
    assert verify([chain[0], chain[2], chain[1], *chain[3:]]).seq == 2
    assert "reordered" in (verify([chain[0], chain[2], chain[1], *chain[3:]]).problem or "")
    assert "repeated" in (verify([chain[0], chain[0], *chain[1:]]).problem or "")
    assert entry_hash(chain[3]) == chain[3].hash
