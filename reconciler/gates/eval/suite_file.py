"""Reads an eval suite from YAML and says file and line of everything that is wrong with it, all at once.

Imports `environments` for the YAML tree, and `suite`. The gate and the tests of the shipped suites call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from environments.errors import Problem, SpecError, nearest
from environments.strict import Strict
from environments.yaml_parse import parse_yaml
from environments.yaml_tree import Block, Lines, Node, PathPart, Scalar, child, join_path, plain
from reconciler.gates.eval.suite import (
    SCORERS,
    Case,
    Label,
    Perturbations,
    Requests,
    Rubric,
    Sampling,
    Slices,
    Suite,
)
from reconciler.gates.eval.suite_check import contradictions

_FIX = "correct the value; docs/eval.md describes every key"
_BLOCKS: dict[str, type[Strict]] = {"sampling": Sampling, "requests": Requests, "perturbations": Perturbations}


def load_suite(path: Path) -> Suite:
    """Return the suite in `path`.

    Raises:
        SpecError: `EVAL-001` cannot be read, `EVAL-002` is not YAML, `EVAL-003` unknown key, `EVAL-004` bad or missing
            value, `EVAL-005` key given twice, `EVAL-006` unknown scorer or tag, `EVAL-007` an expectation that its
            scorer cannot use, `EVAL-008` a case given twice, `EVAL-009` a scorer without use or a case without one,
            `EVAL-010` keys that contradict each other; every problem of the file with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        do = "name a readable YAML file; environments/evals/ has examples"
        raise SpecError([Problem(str(path), "EVAL-001", "the suite cannot be read", str(error), do)]) from None
    return parse_suite(text, str(path))


def parse_suite(text: str, name: str) -> Suite:
    """Return the suite that `text` holds; `name` is the file's name in errors. Raises as `load_suite` does."""
    root, problems = parse_yaml(text, name)
    problems = [_as_ours(problem) for problem in problems]
    if not isinstance(root, Block):
        do = "start with `suite: NAME`; environments/evals/ has examples"
        missing = Problem(f"{name}:1", "EVAL-002", "the suite is not a mapping of keys", "", do)
        raise SpecError(problems or [missing])
    lines = Lines(name, root)
    try:
        suite = Suite.model_validate(plain(root))
    except ValidationError as error:
        found: dict[tuple[Any, ...], Problem] = {}
        for item in error.errors(include_url=False):  # a union reports once for each of its members
            extra = item["loc"][-1] if item["type"] == "missing" else ""
            found.setdefault((_found(item["loc"], root), extra), _problem(item, lines))
        raise SpecError([*problems, *found.values()]) from None
    problems += [Problem(lines.where(c.path), c.code, c.what, c.why, c.do) for c in contradictions(suite)]
    if problems:
        raise SpecError(problems)
    return suite


def _as_ours(problem: Problem) -> Problem:
    code = "EVAL-005" if "twice" in problem.what else "EVAL-002"
    return Problem(problem.where, code, problem.what, problem.why, problem.do)


def _problem(item: Mapping[str, Any], lines: Lines) -> Problem:
    path = _found(item["loc"], lines.root)
    last, shown = item["loc"][-1] if item["loc"] else "", join_path(path)
    match item["type"]:
        case "extra_forbidden":
            where = f"{lines.file}:{lines.key_line(path)}"
            why = "a key that nobody reads would look as if it were in force"
            do = f"correct or remove it ({nearest(str(last), _known(path, lines))})"
            return Problem(where, "EVAL-003", f'unknown key "{shown}"', why, do)
        case "missing":
            what = f'key "{last}" is missing{f" in {shown}" if path else ""}'
            return Problem(lines.where(path), "EVAL-004", what, "", f"add `{last}: …`")
        case _:
            return Problem(lines.where(path), "EVAL-004", f'"{shown}" is not valid', _reason(item), _FIX)


def _reason(item: Mapping[str, Any]) -> str:
    given = item.get("input")
    shown = f"; given: {given!r}" if isinstance(given, str | int | float | bool) or given is None else ""
    return str(item["msg"]).removeprefix("Value error, ") + shown


def _found(loc: tuple[PathPart, ...], root: Node | None) -> tuple[PathPart, ...]:
    """Return the part of a pydantic location that the file has; names of union members are no places in it."""
    path: tuple[PathPart, ...] = ()
    node = root
    for part in loc:
        entry = child(node, part)
        if entry is not None:
            path, node = (*path, part), entry[1]
    return path


def _known(path: tuple[PathPart, ...], lines: Lines) -> set[str]:
    """Return the keys that may stand in the block that a path's last key is in."""
    return set(block.model_fields) if (block := _block(path[:-1], lines)) else set()


def _block(path: tuple[PathPart, ...], lines: Lines) -> type[Strict] | None:
    match path:
        case ():
            return Suite
        case ("scorers", name):
            kind = lines.node(("scorers", name, "kind"))
            return SCORERS.get(kind.text) if isinstance(kind, Scalar) else None
        case ("scorers", _, "rubric"):
            return Rubric
        case ("scorers", _, "labels", _):
            return Label
        case ("cases", _):
            return Case
        case ("slices", _):
            return Slices
        case (str(name),):
            return _BLOCKS.get(name)
        case _:
            return None
