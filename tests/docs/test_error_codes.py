"""The registry of error codes and the source agree: each code that can appear is explained, and no other is."""

from __future__ import annotations

import ast
import json
import re

import pytest

from environments.error_codes import AREAS, REGISTRY
from policies.catalog import known_ids
from reconciler.cli.main import run
from tests.support.processes import ROOT

_CODE = re.compile(r"[A-Z]{2,12}-\d{3}")
_FOLDERS = ("environments", "policies", "reconciler", "loadtests", "components", "stacks")


def codes_in(source: str) -> set[str]:
    """Return the texts in a module that are a code and nothing else; what docstrings mention does not count."""
    nodes = ast.walk(ast.parse(source))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if _CODE.fullmatch(text)}


def raised() -> dict[str, set[str]]:
    """Return every code in the source that is not a policy's → the files that hold it."""
    found: dict[str, set[str]] = {}
    for path in (p for folder in _FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))):
        if "error_codes" not in path.parts:
            for code in codes_in(path.read_text()) - known_ids():
                found.setdefault(code, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_code_in_the_source_is_in_the_registry() -> None:
    unknown = {code: sorted(files) for code, files in raised().items() if code not in REGISTRY}
    assert not unknown, f"add one line for each to environments/error_codes/, then `make reference`: {unknown}"


def test_every_code_in_the_registry_is_raised_somewhere() -> None:
    assert sorted(REGISTRY.keys() - raised().keys()) == []


def test_no_code_is_a_policy_too() -> None:
    assert sorted(REGISTRY.keys() & known_ids()) == []


def test_every_code_says_when_and_what_to_do() -> None:
    areas = {area for area, _ in AREAS}
    for code in REGISTRY.values():
        assert _CODE.fullmatch(code.code)
        assert code.area in areas
        assert not code.title.endswith(".")
        assert code.when.endswith("."), code.code
        assert code.do.endswith("."), code.code


def test_a_code_that_nobody_explains_is_seen() -> None:
    assert codes_in('raise SluiceError("NEW-999", what="x")\n"""Raises `OLD-001`."""') == {"NEW-999"}


def test_explain_knows_error_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "explain", "plan-003"]) == 0
    assert capsys.readouterr().out == (
        f"PLAN-003  The plan is stale\n  when: {REGISTRY['PLAN-003'].when}\n  do:   {REGISTRY['PLAN-003'].do}\n"
    )
    assert run(["policy", "explain", "PLAN-003", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "PLAN-003"
