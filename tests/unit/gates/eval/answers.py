"""Scored answers made from a table, for tests of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.gates.eval.ask import Answer, Question
from reconciler.gates.eval.perturb import ORIGINAL
from reconciler.gates.eval.scorers import Score
from reconciler.gates.eval.scoring import Scored
from reconciler.gates.eval.suite import Suite
from reconciler.gates.eval.suite_file import parse_suite


def made_suite(cases: int, head: str = "", *, tags: Sequence[str] = ()) -> Suite:
    """Return a suite of `cases` cases that one scorer `ok` scores; case i has the tag i modulo their number."""
    lines = [f"suite: made\nversion: 1\n{head}\nscorers: {{ok: {{kind: length}}}}\nevery: [ok]\ncases:"]
    for index in range(cases):
        lines.append(f"  - {{id: c{index}, input: question, tags: [{tags[index % len(tags)] if tags else ''}]}}")
    return parse_suite("\n".join(lines) + "\n", "made.yaml")


def scored(passed: Sequence[bool | Sequence[bool]], variants: Mapping[int, str] | None = None) -> tuple[Scored, ...]:
    """Return the answers of one arm: for each case whether it passed, or for each of its repeats."""
    names = variants or {}
    return tuple(
        Scored(Answer(Question(f"c{case}", names.get(i, ORIGINAL), i, "question"), "text"), {"ok": Score(good, "seen")})
        for case, found in enumerate(passed)
        for i, good in enumerate([found] if isinstance(found, bool) else found)
    )
