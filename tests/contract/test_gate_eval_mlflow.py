"""An eval in a real MLflow: a run under the model's own run, with shares, suite, table, and a tag on the version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.gates.eval.gate import EvalGate
from tests.support.builders.eval_context import eval_context, release
from tests.support.servers.doubles import model_folder, running_double
from tests.support.servers.mlflow_server import running_mlflow

SUITE = """
suite: form
version: 4
prompt: system
population: cases
sampling: {max_tokens: 4}
scorers: {sized: {kind: length}}
every: [sized]
thresholds: {sized: 1.0}
cases: [{id: a, input: one}, {id: b, input: two}]
"""


def register(mlflow: str) -> str:
    """Make a model version that came from a run, and return the run's id."""

    def post(path: str, **body: Any) -> Any:
        return httpx.post(f"{mlflow}/api/2.0/mlflow/{path}", json=body, timeout=60).raise_for_status().json()

    experiment = post("experiments/create", name="training")["experiment_id"]
    made = post("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]
    run: str = made["run_id"]
    post("registered-models/create", name="chat-llm")
    post("model-versions/create", name="chat-llm", source=f"{made['artifact_uri']}/model", run_id=run)
    return run


@pytest.mark.engine
async def test_results_are_bound_to_the_release(tmp_path: Path) -> None:
    with running_mlflow(tmp_path) as mlflow, running_double(model_folder(tmp_path)) as double:
        parent = register(mlflow)
        new = release("new", ref="mlflow:chat-llm/1", run_id=parent)
        context = eval_context(
            tmp_path, SUITE, challenger=double.url, champion=double.url, releases=(new, release("old"))
        )
        found = await EvalGate(mlflow).evidence(context)
        assert found.verdict == "PASS", found.sentence
        run_id = found.figures["mlflow"]["run_id"]
        assert found.links[-1].endswith(f"/runs/{run_id}"), found.links

        def get(path: str, **query: str) -> Any:
            return httpx.get(f"{mlflow}/api/2.0/{path}", params=query, timeout=60).raise_for_status().json()

        run = get("mlflow/runs/get", run_id=run_id)["run"]
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        metrics = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
        assert run["info"]["status"] == "FINISHED"
        assert run["info"]["experiment_id"] == get("mlflow/runs/get", run_id=parent)["run"]["info"]["experiment_id"]
        assert (tags["mlflow.parentRunId"], tags["sluice.release"]) == (parent, new.id)
        assert tags["sluice.suite_digest"] == found.figures["suite"]["digest"]
        assert (metrics["challenger/sized"], metrics["drop/value"]) == (1.0, 0.0)
        assert run["inputs"]["dataset_inputs"][0]["dataset"]["name"] == "form/4"
        version = get("mlflow/model-versions/get", name="chat-llm", version="1")["model_version"]
        assert {tag["key"]: tag["value"] for tag in version["tags"]}["sluice.eval.form"].startswith(f"PASS {run_id}")
        table = get(
            f"mlflow-artifacts/artifacts/{run['info']['artifact_uri'].partition(':/')[2].strip('/')}/eval_results.json"
        )
        assert len(table["data"]) == 4
        assert table["columns"][0] == "arm"

        nowhere = release("new", ref="mlflow:chat-llm/1", run_id="0" * 32)
        context = eval_context(tmp_path, SUITE, challenger=double.url, champion=None, releases=(nowhere, nowhere))
        found = await EvalGate(mlflow).evidence(context)
        assert found.verdict == "PASS"
        assert found.links[-1].startswith("warning: not logged to MLflow")
