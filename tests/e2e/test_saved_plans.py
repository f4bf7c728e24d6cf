"""A plan that was saved runs only as it was approved: not stale, not tampered with, not denied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, Result

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def saved(cli: Cli) -> Path:
    """Save the plan to roll out a second model."""
    cli.rollout["strategy"] = "blue_green"
    cli.rollout["bake_s"] = 0
    cli.declare(cli.model("v2"))
    path = cli.folder / "plan.json"
    cli.run("plan", cli.name, "-o", str(path), code=0)
    return path


def refused(result: Result, code: str) -> dict[str, Any]:
    """Return the one problem of a refused call, after checking that stdout has it as JSON and stderr as text."""
    error = result.json()["error"]
    assert error["code"] == code, error
    assert result.err.startswith(code)
    problem: dict[str, Any] = error["problems"][0]
    assert problem["what"]
    assert problem["do"]
    return problem


def test_a_saved_plan_runs_once(cli: Cli, saved: Path) -> None:
    plan = json.loads(saved.read_text())
    outcome = cli.run("apply", str(saved), "--json", code=0).json()
    assert (outcome["digest"], outcome["outcomes"][0]["phase"]) == (plan["digest"], "promoted")
    again = refused(cli.run("apply", str(saved), "--json", code=6), "PLAN-003")
    assert again["where"] == "e2e/local/chat"


def test_a_stale_plan_names_what_moved(cli: Cli, saved: Path) -> None:
    cli.run("apply", cli.name, "--yes", code=0)
    second = cli.serving()
    problem = refused(cli.run("apply", str(saved), "--json", code=6), "PLAN-003")
    assert problem["where"] == "e2e/local/chat"
    assert "e2e/local/chat slots.a.weight_pct was 100 and is now 0" in problem["what"]
    assert f"e2e/local/chat slots.b.release was None and is now {second}" in problem["what"]
    assert "slots.a.release" not in problem["what"], "slot a still holds what it held"


def test_a_plan_is_stale_when_the_file_or_a_models_content_changed(cli: Cli, saved: Path) -> None:
    weights = cli.folder / "models" / "v2" / "config.json"
    content = weights.read_text()
    weights.write_text(content.replace("v2", "v2 retrained"))
    assert "content" in refused(cli.run("apply", str(saved), "--json", code=6), "PLAN-003")["what"]
    weights.write_text(content)
    cli.rollout["bake_s"] = 1
    cli.declare("file:models/v2")
    assert "file" in refused(cli.run("apply", str(saved), "--json", code=6), "PLAN-003")["what"]
    assert len([e for e in cli.entries() if e.kind == "begin"]) == 1, "nothing was begun"


@pytest.mark.parametrize("tampering", ["weight", "release", "digest", "text"])
def test_a_tampered_plan_does_not_run(cli: Cli, saved: Path, tampering: str) -> None:
    plan = json.loads(saved.read_text())
    match tampering:
        case "weight":
            next(s for s in plan["steps"] if s["weight_pct"])["weight_pct"] = 1
        case "release":
            plan["releases"][0]["model"]["ref"] = "file:models/v1"
        case "digest":
            plan["digest"] = "sha256:" + "0" * 64
        case "text":
            plan = {"schema": "sluice/plan/v1"}
        case _:
            pass
    saved.write_text(json.dumps(plan))
    refused(cli.run("apply", str(saved), "--json", code=1), "PLAN-001" if tampering == "text" else "PLAN-002")
    assert len([e for e in cli.entries() if e.kind == "begin"]) == 1, "nothing was begun"


def test_only_the_approved_digest_runs(cli: Cli, saved: Path) -> None:
    digest = json.loads(saved.read_text())["digest"]
    problem = refused(cli.run("apply", cli.name, "--json", "--approve", "sha256:0", code=6), "PLAN-003")
    assert digest in problem["what"]
    refused(cli.run("apply", cli.name, "--json", code=1), "APPLY-003")
    assert cli.run("apply", cli.name, "--json", "--approve", digest, code=0).json()["digest"] == digest


def test_a_denied_plan_does_not_run(cli: Cli, saved: Path) -> None:
    cli.declare("file:models/v2", policies={"REL-003": "deny"})
    plan = cli.run("plan", cli.name, "--json", "-o", str(saved), code=3).json()
    assert [f["policy"] for f in plan["findings"] if f["level"] == "deny"] == ["REL-003"]
    for what in (cli.name, str(saved)):
        problem = refused(cli.run("apply", what, "--yes", "--json", code=3), "POLICY-001")
        assert "REL-003" in problem["what"]
    assert cli.run("policy", "check", cli.name, code=3).out
    assert len([e for e in cli.entries() if e.kind == "begin"]) == 1, "nothing was begun"
