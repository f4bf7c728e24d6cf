"""Logs an eval to MLflow: a run under the run that made the model, with results, suite and judges, and a model tag.

Imports MLflow's REST client of `reconciler.registries`, which needs no MLflow. The gate calls `record` when the verdict
stands. A log that fails changes no verdict: it is said in the evidence, as a warning among the links.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.gates.eval.judgement import EvalJudgement
from reconciler.ports import GateContext
from reconciler.registries.mlflow_api import MlflowApi

EXPERIMENT = "sluice-evals"
_PATIENCE_S = 60.0
_TABLE = "eval_results.json"
_TEXT_MAX = 4_000
_TAG_MAX = 4_000


@dataclass(frozen=True)
class Record:
    """What is logged."""

    context: GateContext
    judged: EvalJudgement
    figures: Json
    rows: list[Json]


@dataclass(frozen=True)
class Logged:
    """Where it went: a link to the run, or a warning in its place."""

    link: str
    run_id: str | None = None


async def record(url: str, what: Record) -> Logged:
    """Log an eval and return the link to its run; when that fails, return the warning that says why."""
    api = MlflowApi(url)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await _record(api, what)
    except TimeoutError:
        return Logged(f"warning: not logged to MLflow at {api.url}: no answer within {_PATIENCE_S:g} s")
    except (SluiceError, LookupError) as error:
        why = error.problem.what if isinstance(error, SluiceError) else f"an answer without {error}"
        return Logged(f"warning: not logged to MLflow: {why}")


async def _record(api: MlflowApi, what: Record) -> Logged:
    where = f"eval of {what.context.address}"
    lineage = what.context.challenger.lineage.get("model")
    parent = lineage.run_id if lineage else None
    experiment = await _experiment(api, where, parent)
    made = await api.post(
        "runs/create",
        where,
        experiment_id=experiment,
        run_name=f"eval {what.figures['suite']['name']} {what.context.challenger.id}",
        start_time=_now_ms(),
        tags=_pairs(_tags(what, parent)),
    )
    run_id = str(made["run"]["info"]["run_id"])
    await _fill(api, where, run_id, what)
    await _tag_model(api, where, run_id, what)
    stored = await _store_table(api, where, str(made["run"]["info"].get("artifact_uri", "")), run_id, what.rows)
    await api.post("runs/update", where, run_id=run_id, status="FINISHED", end_time=_now_ms())
    link = f"{api.url}/#/experiments/{experiment}/runs/{run_id}"
    return Logged(
        link if stored else f"{link} (without the table of answers: its store is not behind the server)", run_id
    )


async def _experiment(api: MlflowApi, where: str, parent: str | None) -> str:
    """Return the experiment of the run that made the model, so that both stand together; else one of our own."""
    if parent is not None:
        found = await api.get("runs/get", where, run_id=parent)
        return str(found["run"]["info"]["experiment_id"])
    try:
        named = await api.get("experiments/get-by-name", where, experiment_name=EXPERIMENT)
        return str(named["experiment"]["experiment_id"])
    except SluiceError as error:
        if error.code != "REG-001":
            raise
    return str((await api.post("experiments/create", where, name=EXPERIMENT))["experiment_id"])


def _tags(what: Record, parent: str | None) -> dict[str, str]:
    context, suite = what.context, what.figures["suite"]
    tags = {
        "sluice.address": str(context.address),
        "sluice.rollout": context.rollout,
        "sluice.release": context.challenger.id,
        "sluice.champion": context.champion.id if context.champion else "",
        "sluice.model": context.challenger.model.ref,
        "sluice.model_digest": context.challenger.model.digest,
        "sluice.suite": f"{suite['name']}/{suite['version']}",
        "sluice.suite_digest": suite["digest"],
        "sluice.verdict": str(what.judged.verdict),
        "sluice.judges": json.dumps(what.figures["judges"], sort_keys=True)[:_TAG_MAX],
        "mlflow.note.content": f"{what.judged.verdict}: {what.judged.sentence}"[:_TAG_MAX],
        "mlflow.loggedArtifacts": json.dumps([{"path": _TABLE, "type": "table"}]),
    }
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


async def _fill(api: MlflowApi, where: str, run_id: str, what: Record) -> None:
    """Log parameters, metrics and the suite as the run's dataset."""
    suite = what.figures["suite"]
    now = _now_ms()
    shares = {f"{arm}/{name}": share for arm, found in what.figures["shares"].items() for name, share in found.items()}
    metrics = shares | _judge_metrics(what.figures["judges"]) | _finding_metrics(what.judged)
    await api.post(
        "runs/log-batch",
        where,
        run_id=run_id,
        metrics=[{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in sorted(metrics.items())],
        params=_pairs({f"suite.{key}": str(value) for key, value in suite.items()}),
    )
    dataset = {
        "name": f"{suite['name']}/{suite['version']}",
        "digest": suite["digest"].removeprefix("sha256:")[:36],
        "source_type": "local",
        "source": json.dumps({"uri": str(what.context.settings["suite"])}),
        "profile": json.dumps({"num_rows": what.figures["cases"]}),
    }
    tags = [{"key": "mlflow.data.context", "value": "eval"}]
    await api.post("runs/log-inputs", where, run_id=run_id, datasets=[{"dataset": dataset, "tags": tags}])


def _finding_metrics(judged: EvalJudgement) -> dict[str, float]:
    wanted = ("value", "low", "high", "gap", "loss")
    return {
        f"{finding.name.replace(' ', '/')}/{key}": float(finding.figures[key])
        for finding in judged.findings
        if not finding.name.startswith("threshold")
        for key in wanted
        if key in finding.figures
    }


def _judge_metrics(judges: list[Json]) -> dict[str, float]:
    return {
        f"judge/{j['name']}/{k}": float(j[k]) for j in judges for k in ("agreement", "kappa") if j.get(k) is not None
    }


async def _tag_model(api: MlflowApi, where: str, run_id: str, what: Record) -> None:
    """Say on the model version itself what the suite found, when it came from MLflow."""
    ref = what.context.challenger.model.ref
    if not ref.startswith("mlflow:"):
        return
    name, _, version = ref.removeprefix("mlflow:").rpartition("/")
    key = f"sluice.eval.{what.figures['suite']['name']}"
    value = f"{what.judged.verdict} {run_id} {what.figures['suite']['digest']}"
    await api.post("model-versions/set-tag", where, name=name, version=version, key=key, value=value)


async def _store_table(api: MlflowApi, where: str, uri: str, run_id: str, rows: list[Json]) -> bool:
    """Store the answers as a table that MLflow's pages show; False where artifacts are not behind the server."""
    scheme, _, path = uri.partition(":/")
    if scheme != "mlflow-artifacts":
        return False
    columns = ["arm", "case", "variant", "repeat", "input", "answer", "passed", "scores"]
    data = [[_cell(row[column]) for column in columns] for row in rows]
    content = json.dumps({"columns": columns, "data": data}).encode()
    await api.upload(f"{path.strip('/')}/{_TABLE}", where, content)
    return True


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {'good' if s['passed'] else 'bad'}, {s['why']}" for name, s in value.items())
    return value[:_TEXT_MAX] if isinstance(value, str) else value


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(values.items())]


def _now_ms() -> int:
    return int(time.time() * 1000)
