"""Signed heads of the ledger: whoever writes the whole ledger anew, so that it fits together, is found out."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.canonical import canonical_json
from reconciler.ports import Entry
from reconciler.store.connect import open_store, sqlite_path
from reconciler.store.ledger import GENESIS, entry_hash
from tests.support.builders.signing import Person
from tests.support.reviewed import Project

URL = "sqlite:///.sluice/dev.db"


@pytest.fixture
def key(tmp_path: Path) -> Person:
    return Person("ledger", tmp_path)


@pytest.fixture
def signing(project: Project, key: Person) -> Project:
    """Return a project whose ledger is signed, after one rollout that could not start its server."""
    project.declare(ledger={"sign_with": f"file:{key.path}", "keys": [{"name": "key", "public_key": key.public_key}]})
    project.call("apply", "dev", "--yes", code=4)
    return project


def entries(project: Project) -> list[Entry]:
    async def read() -> list[Entry]:
        store = open_store(URL, home=project.home, root=project.folder)
        try:
            return [entry async for entry in store.entries("dev")]
        finally:
            await store.close()

    return asyncio.run(read())


def write_anew(project: Project, changed: list[Entry]) -> None:
    """Replace the whole ledger by these entries as somebody with full access would: numbered, chained, with a head."""
    last, rows = GENESIS, []
    for seq, entry in enumerate(changed, start=1):
        linked = replace(entry, seq=seq, prev=last)
        last = entry_hash(linked)
        rows.append(replace(linked, hash=last))
    path = sqlite_path(URL, home=project.home)
    with closing(sqlite3.connect(path)) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DELETE FROM ledger")
        for row in rows:
            values = vars(row) | {"body": canonical_json(row.body)}
            marks = ", ".join(f":{name}" for name in values)
            database.execute(f"INSERT INTO ledger ({', '.join(values)}) VALUES ({marks})", values)
        database.execute("UPDATE ledger_heads SET seq = ?, hash = ?", (len(rows), last))
        database.commit()


def verified(project: Project, *options: str, code: int = 0) -> Any:
    return json.loads(project.call("ledger", "verify", "dev", *options, "--json", code=code))


def test_each_rollout_ends_with_a_signed_head(signing: Project) -> None:
    told = entries(signing)
    assert told[-1].kind == "signed"
    assert told[-1].summary == f"the ledger up to entry {told[-1].seq - 1} is signed"
    assert told[-2].rollout == told[-1].rollout
    found = verified(signing)
    assert (found["ok"], found["checked"], found["doubts"]) == (True, len(told), [])
    assert [(h["seq"], h["hash"], h["rollout"]) for h in found["heads"]] == [
        (told[-2].seq, told[-2].hash, told[-2].rollout)
    ]


def test_a_ledger_that_was_written_anew_is_found_by_its_anchor(signing: Project) -> None:
    signing.call("ledger", "anchor", "dev", "-o", "anchors.jsonl")
    kept = [replace(e, summary="nothing happened") for e in entries(signing) if e.kind != "signed"]
    write_anew(signing, kept)
    assert verified(signing)["ok"], "it fits together, and nothing in it is signed any more"
    found = verified(signing, "--anchors", "anchors.jsonl", code=1)
    assert (found["ok"], found["problem"], found["doubts"][0]["rewritten"]) == (False, None, True)
    problem = signing.refused_plain("ledger", "verify", "dev", "--anchors", "anchors.jsonl")
    assert problem.startswith("LEDGER-002")
    assert "there is no such entry now" in problem


def test_heads_in_the_ledger_itself_find_it_too_as_long_as_they_stand_there(signing: Project) -> None:
    first = entries(signing)
    write_anew(signing, [replace(first[0], summary="nothing happened"), *first[1:]])
    found = verified(signing, code=1)
    assert found["problem"] is None, "the chain is whole"
    assert found["doubts"][0]["where"] == f"entry {first[-1].seq}"
    assert "its hash is" in found["doubts"][0]["what"]


def test_a_head_is_forged_by_nobody_without_the_key(signing: Project, tmp_path: Path) -> None:
    mallory = Person("mallory", tmp_path)
    write_anew(signing, [e for e in entries(signing) if e.kind != "signed"])
    signing.environ.setenv("SLUICE_LEDGER_KEY", str(mallory.path))
    signing.call("ledger", "anchor", "dev", "-o", "forged.jsonl")
    problem = signing.refused_plain("ledger", "verify", "dev", "--anchors", "forged.jsonl")
    assert problem.startswith("LEDGER-003")
    assert "not believed" in problem
    stripped = json.loads(Path("forged.jsonl").read_text()) | {"signatures": []}
    Path("forged.jsonl").write_text(json.dumps(stripped))
    assert "nobody signed it" in signing.refused_plain("ledger", "verify", "dev", "--anchors", "forged.jsonl")
    for content in ("", "{}", "what"):
        Path("forged.jsonl").write_text(content)
        assert signing.refused_plain("ledger", "verify", "dev", "--anchors", "forged.jsonl").startswith("LEDGER-003")


def test_anchors_are_added_and_several_files_are_compared(signing: Project) -> None:
    for _ in range(2):
        signing.call("ledger", "anchor", "dev", "-o", "one.jsonl")
    assert len(Path("one.jsonl").read_text().splitlines()) == 2
    signing.call("apply", "dev", "--yes", code=4)
    signing.call("ledger", "anchor", "dev", "-o", "two.jsonl")
    assert len(verified(signing, "--anchors", "one.jsonl", "two.jsonl")["heads"]) == 5
    assert "5 signed heads are in it" in signing.call("ledger", "verify", "dev", "--anchors", "one.jsonl", "two.jsonl")


def test_without_a_key_nothing_is_signed_and_an_anchor_says_so(project: Project, key: Person) -> None:
    project.call("apply", "dev", "--yes", code=4)
    assert [e for e in entries(project) if e.kind == "signed"] == []
    assert project.refused("ledger", "anchor", "dev", "-o", "x.jsonl")["code"] == "LEDGER-004"
    project.environ.setenv("SLUICE_LEDGER_KEY", str(key.path))
    project.call("ledger", "anchor", "dev", "-o", "x.jsonl")
    assert len(verified(project, "--anchors", "x.jsonl")["heads"]) == 1, "the key at hand is believed"


def test_a_key_that_is_not_there_undoes_nothing(signing: Project, key: Person) -> None:
    key.path.unlink()
    signing.call("apply", "dev", "--yes", code=4)
    assert entries(signing)[-1].kind == "finish"
    assert verified(signing)["ok"]


def test_another_environments_head_proves_nothing(signing: Project) -> None:
    signing.call("ledger", "anchor", "dev", "-o", "anchors.jsonl")
    signing.spec["environment"] = "test"
    (signing.folder / "environments" / "test.yaml").write_text(json.dumps(signing.spec))
    problem = signing.refused_plain("ledger", "verify", "test", "--anchors", "anchors.jsonl")
    assert "it is of the environment dev" in problem
