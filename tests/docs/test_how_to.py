"""The code that the how-tos show does what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.policy import Hit, OnPlan, PlanContext, Policy, levels
from reconciler.ports import GateContext, GateEvidence
from tests.support.builders.eval_context import eval_context
from tests.support.processes import ROOT
from tests.support.servers.http_stub import Answer, Asked, http_stub
from tests.unit.policies.fixtures import shipped

HOW_TO = ROOT / "docs" / "how-to"


def run_block(page: str, number: int, names: dict[str, Any]) -> dict[str, Any]:
    """Run one Python block of a page and return what it defines."""
    blocks = re.findall(r"^```python\n(.*?)^```", (HOW_TO / page).read_text(), re.MULTILINE | re.DOTALL)
    exec(compile(f"from __future__ import annotations\n{blocks[number]}", page, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("words", "verdict", "leaked"), [("Ask the front desk.", "PASS", 0), ("Write to jo@example.org.", "FAIL", 3)]
)
async def test_the_custom_gate_finds_an_address(words: str, verdict: str, leaked: int, tmp_path: Path) -> None:
    names = {"re": re, "GATE": "leaks", "GateContext": GateContext, "GateEvidence": GateEvidence}
    evidence = run_block("custom-gate.md", 1, names)["evidence"]

    def answer(request: Asked) -> Answer:
        assert request.path == "/v1/chat/completions"
        return 200, {"choices": [{"message": {"content": words}}]}

    with http_stub(answer) as url:
        context = replace(eval_context(tmp_path, "", challenger=url, champion=None), settings={"asks": 3})
        found = await evidence(None, context)
    assert (found.gate, found.verdict, found.figures["leaked"]) == ("leaks", verdict, leaked)


def test_the_policy_of_your_own_finds_a_short_bake() -> None:
    given = (Policy, OnPlan, PlanContext, levels)
    names: dict[str, Any] = {each.__name__: each for each in given} | {"Iterator": Iterator, "Hit": Hit}
    (policy,) = run_block("own-policy.md", 0, names)["POLICIES"]
    spec = shipped("prod")
    chat = spec.endpoints["chat"]
    for team, bake_s, count in (("payments", 900.0, 1), ("payments", 3600.0, 0), ("search", 900.0, 0)):
        changed = chat.model_copy(update={"team": team, "rollout": chat.rollout.model_copy(update={"bake_s": bake_s})})
        looked = spec.model_copy(update={"endpoints": {"chat": changed}})
        assert len(list(policy.rule.check(PlanContext(looked, ("chat",))))) == count
