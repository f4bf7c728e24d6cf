"""The eval gate in whole rollouts: it blocks a release that answers worse, and none that answers as well."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.cli import Cli

INPUTS = [f"question number {index}" for index in range(20)]


def said(cli: Cli, text: str) -> str:
    """Return what the champion answers through the gateway."""
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]
    body = {"model": "chat", "messages": messages, "max_tokens": 3, "temperature": 0}
    url = f"http://127.0.0.1:{cli.port}/chat/v1/chat/completions"
    answer: str = httpx.post(url, json=body, timeout=60).raise_for_status().json()["choices"][0]["message"]["content"]
    return answer


def declare_gate(cli: Cli, scorer: dict[str, Any], *, timeout_s: float = 60.0) -> None:
    """Write a suite, and name it in the rollout. Every case expects what the champion says."""
    folder = cli.folder / "environments" / "evals"
    folder.mkdir(exist_ok=True)
    reads = scorer["kind"] == "exact"
    cases = [{"id": f"c{i}", "input": t} | ({"expected": said(cli, t)} if reads else {}) for i, t in enumerate(INPUTS)]
    suite = {"suite": "made", "version": 1, "prompt": "system", "population": "cases", "sampling": {"max_tokens": 3}}
    suite |= {"requests": {"timeout_s": timeout_s}, "scorers": {"s": scorer}, "every": ["s"], "cases": cases}
    (folder / "made.yaml").write_text(json.dumps(suite))
    cli.rollout["gates"] = {"eval": {"suite": "environments/evals/made.yaml", "max_drop": 0.02}}
    cli.rollout["strategy"] = "blue_green"
    cli.rollout["bake_s"] = 0  # nobody calls, so a bake would have nothing to look at


def gate_entries(cli: Cli) -> list[dict[str, Any]]:
    """Return what the ledger holds of gates that were asked."""
    found = [entry.body["evidence"] for entry in cli.entries() if "evidence" in entry.body]
    return [each for each in found if each.get("gate") == "eval"]


def test_a_release_that_answers_worse_is_rolled_back(cli: Cli) -> None:
    before = cli.serving()
    declare_gate(cli, {"kind": "exact"})
    cli.declare(cli.model("worse"))
    cli.run("apply", cli.name, "--yes", code=4)
    assert cli.serving() == before
    asked = gate_entries(cli)
    assert [each["verdict"] for each in asked] == ["FAIL"]
    assert "a drop of" in asked[0]["sentence"]
    assert any(link.endswith("-eval.xml") for link in asked[0]["links"])


def test_a_target_that_hangs_promotes_nothing(cli: Cli) -> None:
    before = cli.serving()
    declare_gate(cli, {"kind": "length"}, timeout_s=0.5)
    cli.rollout["warmup_requests"] = 0
    cli.declare(cli.model("hangs", hang_rate=1.0))
    cli.run("apply", cli.name, "--yes", code=4)
    assert cli.serving() == before
    asked = gate_entries(cli)
    assert asked
    assert {each["verdict"] for each in asked} == {"ERROR"}
    assert "EVAL-021" in asked[-1]["sentence"]


def test_an_equal_release_passes_the_gate(cli: Cli) -> None:
    before = cli.serving()
    declare_gate(cli, {"kind": "length"})
    cli.declare(cli.model("equal"))
    cli.run("apply", cli.name, "--yes")
    assert cli.serving() != before
    assert [each["verdict"] for each in gate_entries(cli)] == ["PASS"]
    assert "PASS" in cli.run("gate", "eval", cli.name, "--endpoint", "chat", "--json").out
