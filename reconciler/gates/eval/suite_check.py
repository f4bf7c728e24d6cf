"""What is wrong with a suite beyond the shape of its keys: names that meet nothing, expectations that fit no scorer.

Pure. `suite_file` adds file and line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from environments.errors import SluiceError, nearest
from environments.yaml_tree import PathPart
from reconciler.gates.eval.schemas import bad_schema
from reconciler.gates.eval.suite import ANSWERS_MAX, Length, Regex, Scorer, Suite


@dataclass(frozen=True)
class Contradiction:
    """One thing that is wrong, at a path in the file."""

    path: tuple[PathPart, ...]
    code: str
    what: str
    why: str = ""
    do: str = ""


def contradictions(suite: Suite) -> list[Contradiction]:
    """Return everything that is wrong with a well-formed suite."""
    return [*_names(suite), *_cases(suite), *_uses(suite), *_sampling(suite), *_rules(suite)]


def _names(suite: Suite) -> Iterator[Contradiction]:
    known = set(suite.scorers)
    named: list[tuple[tuple[PathPart, ...], str]] = []
    named += [(("cases", i, "scorer"), name) for i, case in enumerate(suite.cases) for name in case.scorers]
    named += [(("every", i), name) for i, name in enumerate(suite.every)]
    named += [(("thresholds", name), name) for name in suite.thresholds]
    for path, name in named:
        if name not in known:
            yield Contradiction(path, "EVAL-006", f'no scorer is called "{name}"', nearest(name, known), "declare it")
    tags = {tag for case in suite.cases for tag in case.tags}
    for slices, block in suite.slices.items():
        for index, tag in enumerate(block.tags):
            if tag not in tags:
                path = ("slices", slices, "tags", index)
                why = "a slice without cases cannot be compared"
                yield Contradiction(path, "EVAL-006", f'no case has the tag "{tag}"', why, f"({nearest(tag, tags)})")


def _cases(suite: Suite) -> Iterator[Contradiction]:
    seen: Counter[str] = Counter()
    for index, case in enumerate(suite.cases):
        path: tuple[PathPart, ...] = ("cases", index)
        seen[case.id] += 1
        if seen[case.id] == 2:
            yield Contradiction((*path, "id"), "EVAL-008", f'the case "{case.id}" is there twice', "", "rename one")
        names = [name for name in suite.scorers_of(case) if name in suite.scorers]
        if not suite.scorers_of(case):
            why = "an answer that nothing scores proves nothing"
            yield Contradiction(path, "EVAL-009", f'the case "{case.id}" has no scorer', why, "add `scorer: …`")
        for name in names:
            reason = _misfit(suite.scorers[name], case.expected)
            if reason:
                where = (*path, "expected") if case.expected is not None else path
                what = f'the case "{case.id}" cannot be scored by "{name}": {reason}'
                yield Contradiction(where, "EVAL-007", what, "", "correct `expected`, or choose another scorer")
        all_known = len(names) == len(suite.scorers_of(case))
        unread = names and all_known and not any(_reads(suite.scorers[name], case.expected) for name in names)
        if case.expected is not None and unread:
            what = f'no scorer of "{case.id}" reads `expected`'
            yield Contradiction((*path, "expected"), "EVAL-007", what, "it would look as if it counted", "remove it")


def _uses(suite: Suite) -> Iterator[Contradiction]:
    used = {name for case in suite.cases for name in suite.scorers_of(case)}
    for name in suite.scorers:
        if name not in used:
            why = "it would look as if it guarded something"
            yield Contradiction(("scorers", name), "EVAL-009", f'no case uses the scorer "{name}"', why, "remove it")


def _sampling(suite: Suite) -> Iterator[Contradiction]:
    if suite.sampling.temperature > 0 and suite.sampling.repeats == 1:
        why = "above temperature 0 one answer is a draw, and its score is partly luck"
        path = ("sampling", "temperature")
        yield Contradiction(path, "EVAL-010", "temperature is above 0 and repeats is 1", why, "set repeats: 3 or more")
    if suite.sampling.temperature > 0 and suite.population == "cases":
        what = "population is cases, and temperature is above 0"
        why = "answers that are drawn leave the drop uncertain, and a complete list of cases has no interval to say so"
        yield Contradiction(("population",), "EVAL-010", what, why, "set population: prompts, or temperature: 0")
    wanted = suite.perturbations
    if wanted.paraphrase and not wanted.phrases:
        yield Contradiction(
            ("perturbations", "paraphrase"), "EVAL-010", "there is no table of phrases", "", "add `phrases: {a: [b]}`"
        )
    if wanted.phrases and not wanted.paraphrase:
        yield Contradiction(
            ("perturbations", "phrases"), "EVAL-010", "paraphrase is 0, so nobody reads phrases", "", "set paraphrase"
        )
    if wanted.max_loss is not None and not wanted.typo + wanted.case + wanted.paraphrase:
        path = ("perturbations", "max_loss")
        yield Contradiction(
            path, "EVAL-010", "max_loss has nothing to compare with", "", "set typo, case or paraphrase"
        )
    answers = len(suite.cases) * suite.sampling.repeats * (1 + wanted.typo + wanted.case + wanted.paraphrase)
    if answers > ANSWERS_MAX:
        what = f"up to {answers:,} answers would be asked for, the most is {ANSWERS_MAX:,}"
        yield Contradiction(("cases",), "EVAL-010", what, "a gate must end", "ask for fewer repeats or copies")


def _rules(suite: Suite) -> Iterator[Contradiction]:
    for name, scorer in suite.scorers.items():
        path: tuple[PathPart, ...] = ("scorers", name)
        if isinstance(scorer, Regex) and scorer.pattern is not None and (reason := _bad_pattern(scorer.pattern)):
            yield Contradiction((*path, "pattern"), "EVAL-007", reason, "", "correct the pattern")
        if isinstance(scorer, Length) and scorer.min_chars > scorer.max_chars:
            yield Contradiction((*path, "min_chars"), "EVAL-010", "min_chars is above max_chars", "", "swap them")


def _reads(scorer: Scorer, expected: Any) -> bool:
    if scorer.kind == "refusal":
        return isinstance(expected, bool)
    return scorer.kind not in ("toxicity", "length") and not (scorer.kind == "regex" and scorer.pattern is not None)


def _misfit(scorer: Scorer, expected: Any) -> str | None:
    """Return why a scorer cannot use an expectation, None when it can."""
    match scorer.kind:
        case "exact":
            return None if isinstance(expected, str) else "it needs a text"
        case "contains" | "similarity":
            return None if _texts(expected) else "it needs a text that is not empty, or a list of such"
        case "regex":
            if scorer.pattern is not None:
                return None
            return _bad_pattern(expected) if isinstance(expected, str) and expected else "it needs a pattern"
        case "json_schema":
            return _bad_schema(expected)
        case "numeric":
            is_number = isinstance(expected, int | float) and not isinstance(expected, bool)
            return None if is_number else "it needs a number"
        case "refusal":
            ours = expected is None or isinstance(expected, bool) or scorer.absent
            return None if ours else "it needs true, false or nothing"
        case "llm_judge":
            return None if expected is None or isinstance(expected, str) else "it needs a text or nothing"
        case "toxicity" | "length":
            return None


def _texts(expected: Any) -> bool:
    listed: Iterable[Any] = expected if isinstance(expected, list) else [expected]
    return expected != [] and all(isinstance(each, str) and each.strip() for each in listed)


def _bad_pattern(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"the pattern is not a regular expression: {error}"
    return None


def _bad_schema(schema: Any) -> str | None:
    try:
        return bad_schema(schema)
    except SluiceError as error:
        if error.code != "EVAL-025":
            raise
        return None  # the scorer itself says which package is missing; a plan must not need it
