"""Scores every answer with every scorer that its case names, and refuses a set with a score missing.

Imports the scorers and the judge. The gate calls it for each arm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.gates.eval.ask import Answer, Question
from reconciler.gates.eval.judge_model import Judge, Submission
from reconciler.gates.eval.scorers import SCORE, Score
from reconciler.gates.eval.suite import Case, LlmJudge, Suite


@dataclass(frozen=True)
class Scored:
    """One answer with what each scorer said; it passed when all were content."""

    answer: Answer
    scores: Mapping[str, Score]

    @property
    def passed(self) -> bool:
        """Return whether every scorer was content."""
        return all(score.passed for score in self.scores.values())


def judges_of(suite: Suite) -> dict[str, Judge]:
    """Return the judges that a suite declares, by the name of their scorer."""
    return {name: Judge(name, spec) for name, spec in suite.scorers.items() if isinstance(spec, LlmJudge)}


async def score_all(suite: Suite, answers: Sequence[Answer], judges: Mapping[str, Judge]) -> tuple[Scored, ...]:
    """Return every answer with its scores, in their order.

    Raises:
        SluiceError: `EVAL-022` a scorer crashed, `EVAL-023` a judge gave no verdict, `EVAL-025` a package is missing.
    """
    cases = {case.id: case for case in suite.cases}
    plain = await asyncio.to_thread(_score_plainly, suite, cases, answers)
    try:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(_judge(suite, cases[answer.question.case], answer, judges)) for answer in answers
            ]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(Scored(a, p | task.result()) for a, p, task in zip(answers, plain, asked, strict=True))


def require_complete(suite: Suite, asked: Iterable[Question], scored: Sequence[Scored], arm: str) -> None:
    """Check that each question has an answer with a score of each scorer that is due.

    Raises:
        SluiceError: `EVAL-026` naming the first that is missing and how many are.
    """
    due = {case.id: suite.scorers_of(case) for case in suite.cases}
    there = {(s.answer.question, name) for s in scored for name in s.scores}
    missing = [(q, name) for q in asked for name in due[q.case] if (q, name) not in there]
    if missing:
        question, name = missing[0]
        raise SluiceError(
            "EVAL-026",
            where=arm,
            what=f"{len(missing)} scores of the {arm} are missing, such as {name} of {question.case}",
            why="a score that is missing is never a pass",
        )


def _score_plainly(suite: Suite, cases: Mapping[str, Case], answers: Sequence[Answer]) -> list[dict[str, Score]]:
    return [_scores(suite, cases[answer.question.case], answer) for answer in answers]


def _scores(suite: Suite, case: Case, answer: Answer) -> dict[str, Score]:
    return {
        name: _score(suite, case, answer, name)
        for name in suite.scorers_of(case)
        if not isinstance(suite.scorers[name], LlmJudge)
    }


def _score(suite: Suite, case: Case, answer: Answer, name: str) -> Score:
    scorer = suite.scorers[name]
    try:
        return SCORE[scorer.kind](scorer, case.expected, answer.text)
    except SluiceError:
        raise
    except Exception as error:
        raise SluiceError(
            "EVAL-022",
            where=f"scorers.{name}",
            what=f"the scorer {name} ({scorer.kind}) crashed on the case {case.id}: {type(error).__name__}: {error}",
            why="a scorer that crashes has not said that the answer is good",
            do="correct the scorer or the case",
        ) from error


async def _judge(suite: Suite, case: Case, answer: Answer, judges: Mapping[str, Judge]) -> dict[str, Score]:
    shown = Submission(answer.question.input, case.expected, answer.text)
    return {name: await judges[name].score(shown) for name in suite.scorers_of(case) if name in judges}
