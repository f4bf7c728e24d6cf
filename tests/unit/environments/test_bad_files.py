"""Every bad environment file of `bad_files.yaml` gives its coded error, at its line, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.environments.loading import BASE, problems_of

# Assembled here, so that no scanner of this repository takes them for real ones.
STAND_INS = {
    "@SECRET@": "hunter2" + "hunter2",
    "@AWS@": "AKIA" + "ABCDEFGH12345678",
    "@HF@": "hf_" + "abcdefghijklmnopqrstuvwx",
    "@SK@": "sk-" + "abcdefghijklmnopqrstuvwx",
    "@DIGITS@": "9" * 5000,
}
SECRETS = tuple(STAND_INS[name] for name in ("@SECRET@", "@AWS@", "@HF@", "@SK@"))
ALSO = {
    "bad region name": {"SPEC-022", "SPEC-024"},  # the waves still hold the old name
    "environment called as a folder that all share": {"SPEC-020"},  # and the file has another name than it declares
    "pool missing in one region": {"SPEC-035"},  # that region has no Prometheus for the limit either
}
"""What else is wrong when a change has consequences elsewhere in the file."""


@dataclass(frozen=True)
class Bad:
    """One row of the table."""

    name: str
    code: str
    old: str
    new: str
    at: str
    says: str

    @property
    def text(self) -> str:
        """The changed file."""
        assert self.old in BASE, "the table names text that base.yaml does not have"
        return BASE.replace(self.old, self.new, 1)

    @property
    def where(self) -> str:
        """The line that holds `at`: in what was put in if it is there, else the nearest one before it, else after."""
        start, text = BASE.index(self.old), self.text
        position = text.find(self.at, start, start + len(self.new))
        position = position if position >= 0 else text.rfind(self.at, 0, start)
        position = position if position >= 0 else text.index(self.at)
        return f"environments/base.yaml:{text.count(chr(10), 0, position) + 1}"


def _row(row: dict[str, Any]) -> Bad:
    def filled(text: str) -> str:
        for name, value in STAND_INS.items():
            text = text.replace(name, value)
        return text

    return Bad(**{key: filled(value) for key, value in row.items()})


BAD_FILES = [_row(row) for row in yaml.safe_load((Path(__file__).parent / "bad_files.yaml").read_text())]
each = pytest.mark.parametrize("bad", BAD_FILES, ids=lambda bad: bad.name.replace(" ", "-"))


def test_the_table_is_as_large_as_promised() -> None:
    assert len(BAD_FILES) >= 110
    assert len({bad.name for bad in BAD_FILES}) == len(BAD_FILES)


@each
def test_the_error_stands_at_its_line(bad: Bad, tmp_path: Path) -> None:
    problems = problems_of(bad.text, tmp_path)
    found = [p for p in problems if p.code == bad.code and bad.says in p.what + p.why + p.do]
    assert found, [p.render() for p in problems]
    assert found[0].where == bad.where


@each
def test_it_gives_nothing_else(bad: Bad, tmp_path: Path) -> None:
    problems = problems_of(bad.text, tmp_path)
    assert {p.code for p in problems} == {bad.code} | ALSO.get(bad.name, set()), [p.render() for p in problems]


@each
def test_it_speaks_to_a_person_and_keeps_secrets(bad: Bad, tmp_path: Path) -> None:
    problems = problems_of(bad.text, tmp_path)
    assert list(problems) == sorted(problems, key=lambda p: int(p.where.rpartition(":")[2]))
    for problem in problems:
        text = problem.render()
        assert problem.what
        assert problem.do
        assert not any(secret in text for secret in SECRETS)
        assert not any(word in text for word in ("pydantic", "Input should", "Traceback", "NoneType", "dict["))


@pytest.mark.parametrize(
    ("raw", "code", "line"),
    [
        (b"", "SPEC-008", 1),
        (b"# only a comment\n", "SPEC-008", 1),
        (b"null\n", "SPEC-008", 1),
        (b"just text\n", "SPEC-008", 1),
        (b"- a\n- list\n", "SPEC-008", 1),
        (b"[" * 100_000, "SPEC-007", 1),
        (b"{a: " * 10_000, "SPEC-007", 1),
        (b"environment: a\nowner: \xff\xfe\n", "SPEC-003", 2),
        (BASE.encode("utf-16"), "SPEC-003", 1),
        (b"a: b\n" * 300_000, "SPEC-003", 1),
        (b"%YAML 9.9\n---\na: b\n", "SPEC-004", 1),
        (b"\x00", "SPEC-003", 1),
    ],
)
def test_files_that_are_no_environment_at_all(raw: bytes, code: str, line: int, tmp_path: Path) -> None:
    first = problems_of(raw, tmp_path)[0]
    assert (first.code, first.where) == (code, f"environments/base.yaml:{line}")


def test_many_mistakes_are_shown_at_once_and_in_order(tmp_path: Path) -> None:
    text = (
        BASE.replace("owner: ml-platform", "owner: 7")
        .replace("pool: l4\n", "pool: l9\n")
        .replace("bake_s: 900", "bake: 900")
        .replace("        - 10\n", "        - 60\n")
    )
    found = [(p.code, p.where) for p in problems_of(text, tmp_path)]
    assert found == [
        ("SPEC-012", "environments/base.yaml:3"),
        ("SPEC-021", "environments/base.yaml:41"),
        ("SPEC-021", "environments/base.yaml:41"),
        ("SPEC-026", "environments/base.yaml:66"),
        ("SPEC-011", "environments/base.yaml:71"),
    ]
