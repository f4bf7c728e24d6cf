"""`sluice policy test`: run the cases that lie beside policies. Reads files alone; imports policies when called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError, SpecError

if TYPE_CHECKING:
    from environments.spec import EnvironmentSpec
    from policies.case import CaseFileSpec, CaseSpec, Outcome

SUFFIX = ".cases.yaml"


def run_files(paths: tuple[Path, ...]) -> dict[str, list[Outcome]]:
    """Return the outcomes by file; folders are searched for `*.cases.yaml`.

    Raises:
        SluiceError: `POL-009` a file is not one of cases, `POL-010` there is none; those of environment files.
    """
    from environments.find import reachable

    return {reachable(path): list(_run(path, reachable(path))) for path in _files(paths)}


def text_of(results: dict[str, list[Outcome]]) -> str:
    """Return the outcomes for people: a line a case, and below a bad one what came and what did not."""
    lines = [line for file, outcomes in results.items() for each in outcomes for line in _lines(file, each)]
    bad = sum(not each.good for outcomes in results.values() for each in outcomes)
    total = sum(map(len, results.values()))
    return "\n".join([*lines, f"{total} case(s), {bad} failed"])


def junit_of(results: dict[str, list[Outcome]]) -> str:
    """Return the outcomes as JUnit XML."""
    from loadtests.report import Case, junit_xml

    cases = [
        Case(f"{file}: {each.name}", "PASS" if each.good else "FAIL", "; ".join(_reasons(each)) or "as expected")
        for file, outcomes in results.items()
        for each in outcomes
    ]
    return junit_xml("sluice policy test", cases)


def json_of(results: dict[str, list[Outcome]]) -> dict[str, object]:
    """Return the outcomes as `--json` prints them."""
    cases = [
        {"file": file, "name": e.name, "good": e.good, "lacking": list(e.lacking), "extra": list(e.extra)}
        for file, outcomes in results.items()
        for e in outcomes
    ]
    return {"cases": cases}


def _lines(file: str, outcome: Outcome) -> Iterator[str]:
    yield f"{'ok  ' if outcome.good else 'FAIL'}  {file}: {outcome.name}"
    for reason in _reasons(outcome):
        yield f"      {reason}"


def _reasons(outcome: Outcome) -> Iterator[str]:
    yield from (f"expected, and did not come: {each}" for each in outcome.lacking)
    yield from (f"came, and nobody expected it: {each}" for each in outcome.extra)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    from environments.find import environments_folder

    searched = paths or (environments_folder().absolute().parent / "policies",)
    found = [file for path in searched for file in (sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path])]
    if not found:
        raise SluiceError(
            "POL-010",
            where=", ".join(map(str, searched)),
            what=f"there is no file called *{SUFFIX}",
            why="nothing would be tested",
            do="write one, or name its folder; docs/reference/policy-tests.md shows one",
        )
    return found


def _run(path: Path, shown: str) -> Iterator[Outcome]:
    from policies.case import case_file_of, run_case

    file = case_file_of(_plain(path, shown), shown)
    known: dict[Path, EnvironmentSpec] = {}
    for case in file.cases:
        named = _environment(file, case, path, shown)
        if named not in known:
            known[named] = _loaded(named)
        yield run_case(case, known[named], now=file.now, where=shown)


def _environment(file: CaseFileSpec, case: CaseSpec, path: Path, shown: str) -> Path:
    named = case.environment or file.environment
    if named is None:
        raise SluiceError(
            "POL-009",
            where=f"{shown}: {case.name}",
            what="it names no environment file",
            do="add `environment: ../environments/prod.yaml` to the case, or once to the file",
        )
    return path.absolute().parent / named


def _loaded(path: Path) -> EnvironmentSpec:
    from environments.find import reachable
    from environments.load import load
    from policies.catalog import known_ids

    return load(path, policy_ids=known_ids(), unset="keep", shown=reachable).spec


def _plain(path: Path, shown: str) -> Any:
    from environments.interpolate import Interpolation
    from environments.yaml_parse import parse_yaml
    from environments.yaml_tree import Lines

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SluiceError("POL-009", where=shown, what="the file cannot be read", why=str(error)) from error
    tree, problems = parse_yaml(text, shown)
    if tree is None or problems:
        raise SpecError(problems) if problems else SluiceError("POL-009", where=shown, what="the file is empty")
    return Interpolation(Lines(shown, tree), {}, "keep").plain(tree)
