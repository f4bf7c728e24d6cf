"""The eval gate: challenger and champion answer the same cases, and are compared pair by pair and against thresholds.

Imports the ports and its siblings. The loop asks it between a warm challenger and the first traffic.

`mlflow.genai.evaluate` does not score here: it only warns when a scorer crashes, it knows no paired comparison, and it
would make a verdict depend on a tracking server. MLflow gets the results when they stand (`mlflow_record`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from environments.errors import SluiceError
from environments.files import readable_file
from environments.spec import RegistrySpec
from reconciler.core.canonical import Json, digest
from reconciler.core.model.release import Release
from reconciler.gates.eval.ask import Asked, Question, ask_all, messages_of, questions
from reconciler.gates.eval.judge_model import Judge
from reconciler.gates.eval.judgement import EvalJudgement, judge_eval, scorer_shares
from reconciler.gates.eval.mlflow_record import Record, record
from reconciler.gates.eval.report import rows_of, write_reports
from reconciler.gates.eval.scoring import Scored, judges_of, require_complete, score_all
from reconciler.gates.eval.suite import Suite
from reconciler.gates.eval.suite_file import load_suite
from reconciler.gates.files import digest_of_files
from reconciler.ports import GateContext, GateEvidence, GateProgress

GATE = "eval"


class EvalGate:
    """A `reconciler.ports.Gate`. `settings` has `suite` (a file below `root`) and `max_drop` (a share of cases).

    `mlflow` is the tracking server that results are logged to; None logs nowhere.
    """

    def __init__(self, mlflow: str | None = None) -> None:
        self._mlflow = mlflow

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Read the suite.

        Raises:
            SluiceError: `EVAL-001` to `EVAL-010`, `FILE-001` to `FILE-003`.
        """
        load_suite(readable_file(root, str(settings["suite"])))

    def digest(self, settings: Mapping[str, Any], root: Path) -> str:
        """Return a digest over the suite's text. Raises as `check`."""
        return digest_of_files([readable_file(root, str(settings["suite"]))])

    def remarks_without_champion(self, settings: Mapping[str, Any], root: Path) -> tuple[str, ...]:
        """Say that a suite which only compares has nothing to say without a champion. Raises as `check`."""
        suite = load_suite(readable_file(root, str(settings["suite"])))
        if suite.thresholds or suite.slices or suite.perturbations.max_loss is not None:
            return ()
        scorer = next(iter(suite.scorers))
        why = f"the eval gate will pause: suite {suite.suite} demands nothing by itself, and no champion serves yet"
        return (f"{why}; add `thresholds: {{{scorer}: 0.9}}` to {settings['suite']}, or expect `sluice promote`",)

    async def evidence(self, context: GateContext) -> GateEvidence:
        """Ask both arms every question of the suite, score the answers and judge them.

        Raises:
            SluiceError: `EVAL-001` to `EVAL-010` a bad suite, `EVAL-020` the release lacks the suite's prompt,
                `EVAL-021` a target does not answer, `EVAL-022` to `EVAL-026`, `EVAL-028` and `EVAL-029` a score could
                not be had, `EVAL-027` the report cannot be written, `FILE-001` to `FILE-003`.
        """
        path = readable_file(Path(context.root), str(context.settings["suite"]))
        suite = await asyncio.to_thread(load_suite, path)
        targets = _targets(context, suite)
        judges = judges_of(suite)
        try:
            identities = [await _measured(judge) for judge in judges.values()]
            arms = await _arms(suite, targets, judges, _teller(context, suite, len(targets)))
        finally:
            for judge in judges.values():
                await judge.close()
        drop = float(context.settings.get("max_drop", 0.02))
        judging = partial(judge_eval, max_drop=drop, alpha=context.alpha)
        judged = await asyncio.to_thread(judging, suite, arms["challenger"], arms.get("champion"))
        return await self._evidence(context, suite, judged, arms, identities)

    async def _evidence(
        self,
        context: GateContext,
        suite: Suite,
        judged: EvalJudgement,
        arms: dict[str, tuple[Scored, ...]],
        judges: list[Json],
    ) -> GateEvidence:
        figures = _figures(suite, judged, arms, judges)
        content: Json = {"verdict": str(judged.verdict), "sentence": judged.sentence, "figures": figures}
        rows = rows_of(arms)
        stem = f"{context.rollout}-{context.address.region}-eval"
        folder, title = Path(context.reports), f"eval {context.address}"
        links = write_reports(folder, stem, judged, title=title, content=content | {"answers": rows})
        if self._mlflow:
            logged = await record(self._mlflow, Record(context, judged, figures, rows))
            links, figures = (*links, logged.link), figures | {"mlflow": asdict(logged)}
        return GateEvidence(GATE, str(judged.verdict), judged.sentence, figures=figures, links=links)


def build(registry: RegistrySpec) -> EvalGate:
    """Return the gate, which logs to the environment's MLflow; `environments.gates` names this function."""
    return EvalGate(registry.mlflow)


def _targets(context: GateContext, suite: Suite) -> dict[str, Asked]:
    targets = {"challenger": _target(context, suite, "challenger", context.challenger, context.challenger_url)}
    if context.champion is not None and context.champion_url:
        targets["champion"] = _target(context, suite, "champion", context.champion, context.champion_url)
    return targets


def _target(context: GateContext, suite: Suite, arm: str, release: Release, url: str) -> Asked:
    if suite.prompt is not None and suite.prompt not in release.prompt_texts:
        raise SluiceError(
            "EVAL-020",
            where=f"{context.address}/{release.id}",
            what=f"the {arm} has no prompt `{suite.prompt}`, which the suite {suite.suite} asks with",
            why=f"it has: {', '.join(sorted(release.prompt_texts)) or 'none'}",
            do="add it to the release's `prompts`, or correct `prompt` in the suite",
        )
    before = messages_of(release.prompt_texts[suite.prompt]) if suite.prompt is not None else ()
    return Asked(arm, url, context.address.endpoint, before)


async def _measured(judge: Judge) -> Json:
    """Return who judges and how well; a judge without labels says so."""
    found = await judge.agreement()
    measured: Json = {"labels": 0} if found is None else {**asdict(found), "agreement": found.share}
    return judge.identity() | measured


def _teller(context: GateContext, suite: Suite, arms: int) -> Callable[[], None]:
    """Return what is called for each answer and tells how many there are."""
    began, planned, answered = perf_counter(), arms * len(questions(suite)), 0

    def answered_one() -> None:
        nonlocal answered
        answered += 1
        words = f"{answered:,} of {planned:,} answers"
        context.progress(GateProgress(GATE, words, perf_counter() - began, suite.requests.total_s))

    return answered_one


async def _arms(
    suite: Suite, targets: dict[str, Asked], judges: dict[str, Judge], told: Callable[[], None]
) -> dict[str, tuple[Scored, ...]]:
    """Ask and score all arms at the same time; the first that fails stops the other."""
    asked = questions(suite)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(_arm(suite, t, asked, judges, told)) for name, t in targets.items()}
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return {name: task.result() for name, task in tasks.items()}


async def _arm(
    suite: Suite, target: Asked, asked: tuple[Question, ...], judges: dict[str, Judge], told: Callable[[], None]
) -> tuple[Scored, ...]:
    scored = await score_all(suite, await ask_all(target, suite, asked, told), judges)
    require_complete(suite, asked, scored, target.name)
    return scored


def _figures(suite: Suite, judged: EvalJudgement, arms: dict[str, tuple[Scored, ...]], judges: list[Json]) -> Json:
    """Return what the ledger keeps: demands, shares, and which suite and judges they came from; no answers."""
    findings: list[dict[str, Any]] = [
        {"name": f.name, "verdict": str(f.verdict), "sentence": f.sentence, "figures": f.figures}
        for f in judged.findings
    ]
    return {
        "findings": findings,
        "shares": {arm: scorer_shares(scored) for arm, scored in arms.items()},
        "answers": {arm: len(scored) for arm, scored in arms.items()},
        "suite": {"name": suite.suite, "version": suite.version, "digest": digest(suite.model_dump(mode="json"))},
        "cases": len(suite.cases),
        "judges": judges,
    }
