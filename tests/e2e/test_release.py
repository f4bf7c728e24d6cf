"""The main job: create, roll out under traffic, nothing to do, back by weight, roll back; and what scripts read."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.support.cli import Cli, project
from tests.support.traffic import Traffic

pytestmark = pytest.mark.timeout(900)

RELEASE = r"^chat-[0-9a-f]{10}$"


def test_a_release_goes_through_and_back(cli: Cli) -> None:
    cli.forks = False
    first = cli.serving()
    v2 = cli.model("v2")
    cli.declare(v2)
    pending = cli.run("plan", cli.name, "--detailed-exitcode", "--json", code=2).json()
    assert [(c["action"], c["moves_by"]) for c in pending["changes"]] == [("rollout", "cold_load")]
    with Traffic(cli.port) as traffic:
        cli.run("apply", cli.name, "--yes", code=0)
        second = cli.serving()
        assert second == pending["changes"][0]["release"] != first
        nothing = cli.run("plan", cli.name, "--detailed-exitcode", "--json", code=0).json()
        assert ([c["action"] for c in nothing["changes"]], nothing["steps"]) == (["none"], [])

        done = len(cli.entries())
        cli.declare("file:models/v1")
        back = cli.run("plan", cli.name, "--json", code=0).json()
        assert back["changes"][0]["moves_by"] == "weight", "v1 is still warm in its slot"
        cli.run("apply", cli.name, "--yes", code=0)
        assert cli.serving() == first
        assert not [kind for kind in cli.kinds(done) if kind.startswith("start")]

        done = len(cli.entries())
        outcome = cli.run("rollback", cli.name, "--reason", "tests", "--json", code=0).json()["outcomes"][0]
        assert (outcome["release"], outcome["phase"]) == (second, "promoted")
        assert cli.serving() == second
        assert not [kind for kind in cli.kinds(done) if kind.startswith("start")]
    assert traffic.failed() == 0, traffic.failures
    assert min(traffic.ok(first), traffic.ok(second)) > 0
    check_history(cli)
    cli.declare(v2)
    check_drift(cli)


def check_history(cli: Cli) -> None:
    history = cli.run("history", cli.name, "--json", "--limit", "500", code=0).json()
    fields = {"seq", "at", "actor", "kind", "address", "rollout", "summary", "body", "prev", "hash"}
    assert all(set(entry) == fields for entry in history)
    assert [e["seq"] for e in history] == list(range(len(history), 0, -1)), "newest first"
    assert all(newer["prev"] == older["hash"] for newer, older in itertools.pairwise(history))
    lines = [json.loads(line) for line in cli.run("ledger", "export", cli.name, code=0).out.splitlines()]
    assert lines == history[::-1]
    exported = cli.run("ledger", "export", cli.name, "--json", code=0).json()
    assert exported == {"environment": cli.name, "entries": lines}
    verified = cli.run("ledger", "verify", cli.name, "--json", code=0).json()
    assert (verified["ok"], verified["checked"], verified["environment"]) == (True, len(lines), cli.name)


def check_drift(cli: Cli) -> None:
    assert cli.run("drift", cli.name, "--json", code=0).json() == {"drift": []}
    prompts = next((cli.home / cli.name).rglob("flags.json"))
    prompts.unlink()
    found = cli.run("drift", cli.name, "--json", code=5).json()["drift"]
    assert found
    assert all(set(d) == {"address", "path", "recorded", "live"} and d["recorded"] != d["live"] for d in found)
    plan = cli.run("plan", cli.name, "--refresh-only", "--detailed-exitcode", "--json", code=5).json()
    assert plan["drift"] == found
    cli.run("plan", cli.name, "--detailed-exitcode", code=2)
    assert cli.run("apply", cli.name, "--yes", "--json", code=0).json()["outcomes"][0]["phase"] == "promoted"
    cli.run("plan", cli.name, "--detailed-exitcode", code=0)
    cli.run("drift", cli.name, code=0)


def test_what_scripts_read() -> None:
    with project() as cli:
        cli.declare("file:models/v1")
        before = cli.run("status", cli.name, "--json", code=0).json()
        assert [(e["serving"], e["rollout"]) for e in before["endpoints"]] == [(None, None)]
        plan = cli.run("plan", cli.name, "--json", code=0).json()
        again = cli.run("plan", cli.name, "--json", code=0).json()
        assert {**again, "created_at": ""} == {**plan, "created_at": ""}, "the same world gives the same plan"
        check_plan(plan)
        applied = cli.run("apply", cli.name, "--yes", "--json", code=0)
        (outcome,) = applied.json()["outcomes"]
        assert (outcome["endpoint"], outcome["phase"]) == ("chat", "promoted")
        check_status(cli.run("status", cli.name, "--json", code=0).json())


def check_plan(plan: dict[str, Any]) -> None:
    assert plan["schema"] == "sluice/plan/v1"
    promised = {"environment", "created_at", "digest", "observed_fingerprint", "capacity", "cost", "drift", "findings"}
    assert promised <= set(plan)
    (change,) = plan["changes"]
    assert (change["address"], change["action"], change["moves_by"]) == ("e2e/local/chat", "create", "cold_load")
    assert all(set(field) == {"path", "from", "to"} for field in change["fields"])
    assert {"path": "model", "from": None} in [{k: f[k] for k in ("path", "from")} for f in change["fields"]]
    assert all({"id", "kind", "address", "wave", "weight_pct"} == set(step) for step in plan["steps"])
    assert len({step["id"] for step in plan["steps"]}) == len(plan["steps"])


def check_status(status: dict[str, Any]) -> None:
    (endpoint,) = status["endpoints"]
    assert endpoint["address"] == "e2e/local/chat"
    slots = endpoint["slots"]
    assert {name: slot["weight_pct"] for name, slot in slots.items()} == {"a": 100, "b": 0}
    assert (slots["a"]["release"], slots["a"]["ready"], slots["a"]["warm"]) == (endpoint["serving"], True, True)
    assert slots["b"]["release"] is None
    assert endpoint["prompts"] == {"system": {"ref": "file:models/prompt.txt", "weight_pct": 100}}
    assert endpoint["rollout"] is None
