"""docs/architecture.md answers "where is what" with at most three files and names that exist, and names every room."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest

from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
_PLACE = re.compile(r"`([a-z_/]+(?:\.py|/))(?::([A-Za-z_.]+))?`")
_QUESTIONS = re.findall(r"^\| \**(Where|What)([^|]*)\| (.*) \|$", PAGE, re.MULTILINE)
ROWS = {f"{word}{question}".strip(" *"): answer for word, question, answer in _QUESTIONS}
NEEDED = (
    "Where is the plan made?",
    "Where does apply act?",
    "Where is a lease checked?",
    "Where does a weight reach Envoy?",
    "Where would a platform go?",
    "Where would a gate go?",
    "Where would a policy go?",
    "Where would a metric source go?",
)


def names_in(source: str) -> set[str]:
    """Return the names that a module defines at its top, and `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                methods = {inner.name for inner in body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)}
                found |= {name, *(f"{name}.{method}" for method in methods)}
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case _:
                pass
    return found


def test_the_questions_of_a_newcomer_are_answered() -> None:
    assert [question for question in NEEDED if question not in ROWS] == []


@pytest.mark.parametrize("question", ROWS)
def test_an_answer_is_three_files_at_most(question: str) -> None:
    assert 1 <= len({file for file, _ in _PLACE.findall(ROWS[question])}) <= 3


@pytest.mark.parametrize(("file", "name"), sorted(set(_PLACE.findall(PAGE))))
def test_what_the_page_names_is_there(file: str, name: str) -> None:
    path = ROOT / file
    assert path.exists(), f"docs/architecture.md names {file}"
    if name:
        assert name in names_in(path.read_text()), f"docs/architecture.md names {name} in {file}"


def test_every_room_of_the_contract_is_described() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rooms = {room.strip() for layer in contract["layers"] for room in re.split("[|:]", layer)}
    described = {file.rstrip("/").removesuffix(".py").replace("/", ".") for file, _ in _PLACE.findall(PAGE)}
    assert sorted(rooms - described) == []
