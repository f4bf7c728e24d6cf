"""Every bad suite of `bad_suites.yaml` gives its coded error at its line, and the shipped suites are good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from environments.errors import SpecError
from reconciler.gates.eval.ask import questions
from reconciler.gates.eval.suite_file import load_suite, parse_suite

HERE = Path(__file__).parent
BASE = (HERE / "base.yaml").read_text()
SHIPPED = sorted((HERE.parents[3] / "environments" / "evals").glob("*.yaml"))
ROWS: list[dict[str, Any]] = yaml.safe_load((HERE / "bad_suites.yaml").read_text())


def test_the_base_is_good() -> None:
    suite = parse_suite(BASE, "base.yaml")
    assert [case.id for case in suite.cases] == list("abcdefgh")
    assert suite.scorers_of(suite.cases[0]) == ("same", "civil", "sized")


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 30
    assert {f"EVAL-{code:03}" for code in range(2, 11)} == {row["code"] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['code']} {row['new'][:40]!r}" for row in ROWS])
def test_bad_suite(row: dict[str, Any]) -> None:
    assert row["old"] in BASE, "the table names text that base.yaml does not have"
    text = BASE.replace(row["old"], row["new"], 1)
    line = text.count("\n", 0, text.index(row["at"])) + 1
    with pytest.raises(SpecError) as caught:
        parse_suite(text, "evals/base.yaml")
    problems = caught.value.problems
    shown = "\n".join(problem.render() for problem in problems)
    at = [problem for problem in problems if (problem.code, problem.where) == (row["code"], f"evals/base.yaml:{line}")]
    assert at, f"nothing with {row['code']} at line {line}:\n{shown}"
    assert any(row["says"] in problem.render() for problem in at), shown
    assert {problem.code for problem in problems} <= {row["code"], *row.get("also", ())}, shown


@pytest.mark.parametrize("text", ["", "- suite: base", "suite", "null"])
def test_a_suite_is_a_mapping(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_suite(text, "base.yaml")
    assert (caught.value.code, caught.value.problem.where) == ("EVAL-002", "base.yaml:1")


def test_every_problem_is_shown_at_once() -> None:
    text = BASE.replace("version: 3", "version: x").replace("typo: 1", "typos: 1").replace("id: c", "id: C")
    with pytest.raises(SpecError) as caught:
        parse_suite(text, "base.yaml")
    assert [problem.code for problem in caught.value.problems] == ["EVAL-004", "EVAL-004", "EVAL-003"]


def test_a_sample_of_draws_needs_repeats_and_a_population() -> None:
    drawn = BASE.replace("temperature: 0,", "temperature: 0.7,").replace("repeats: 1", "repeats: 3")
    assert parse_suite(drawn, "base.yaml").sampling.repeats == 3
    with pytest.raises(SpecError, match="EVAL-010"):
        parse_suite(drawn.replace("population: prompts", "population: cases"), "base.yaml")


def test_a_suite_that_would_never_end_is_refused() -> None:
    cases = "\n".join(f"  - {{id: n{i}, input: x}}" for i in range(600))
    text = BASE.replace("cases:\n", f"cases:\n{cases}\n").replace("repeats: 1", "repeats: 100")
    with pytest.raises(SpecError, match="answers would be asked for"):
        parse_suite(text, "base.yaml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_suite(tmp_path / "none.yaml")
    assert caught.value.code == "EVAL-001"
    (tmp_path / "latin.yaml").write_bytes(b"suite: \xe9")
    with pytest.raises(SpecError) as caught:
        load_suite(tmp_path / "latin.yaml")
    assert caught.value.code == "EVAL-001"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.stem))
def test_a_shipped_suite_is_good(path: Path) -> None:
    suite = load_suite(path)
    assert suite.suite == path.stem
    assert len(questions(suite)) >= len(suite.cases)


def test_the_shipped_suites_are_there() -> None:
    assert {path.stem for path in SHIPPED} == {"chat", "code", "demo", "summarize"}
