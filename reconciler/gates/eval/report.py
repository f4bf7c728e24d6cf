"""Writes what an eval found: JUnit for CI, and one JSON file with every answer and score.

Imports `loadtests.report` for JUnit inside. The gate calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.gates.eval.judgement import EvalJudgement
from reconciler.gates.eval.scoring import Scored


def rows_of(arms: Mapping[str, Sequence[Scored]]) -> list[Json]:
    """Return one row for each answer, in the order of the suite, arm after arm."""
    return [
        {
            "arm": arm,
            "case": each.answer.question.case,
            "variant": each.answer.question.variant,
            "repeat": each.answer.question.repeat,
            "input": each.answer.question.input,
            "answer": each.answer.text,
            "passed": each.passed,
            "scores": {name: {"passed": s.passed, "why": s.why} for name, s in sorted(each.scores.items())},
        }
        for arm, scored in arms.items()
        for each in scored
    ]


def write_reports(folder: Path, stem: str, judged: EvalJudgement, *, title: str, content: Json) -> tuple[str, ...]:
    """Write `STEM.xml` and `STEM.json` into `folder` and return their paths.

    Raises:
        SluiceError: `EVAL-027` they cannot be written: a verdict whose answers nobody can read is no evidence.
    """
    from loadtests.report import Case, junit_xml

    junit, answers = folder / f"{stem}.xml", folder / f"{stem}.json"
    cases = [Case(f.name, str(f.verdict), f.sentence) for f in judged.findings]
    overall = [Case("eval", str(judged.verdict), judged.sentence)]
    text = json.dumps(content, indent=1, sort_keys=True)  # ASCII: a model may answer with half a surrogate pair
    try:
        folder.mkdir(parents=True, exist_ok=True)
        junit.write_text(junit_xml(title, cases or overall), encoding="utf-8")
        answers.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        what = f"the report cannot be written: {error}"
        raise SluiceError("EVAL-027", where=str(folder), what=what, do="make room or give rights") from None
    return str(junit), str(answers)
