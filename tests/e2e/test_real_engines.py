"""The main job on real vLLM and real MLflow: promotion moves the registry's alias, and rollback moves it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.demo.models import ensure_models
from tests.support.cli import Cli, project
from tests.support.real_engines import CACHE, require_vllm
from tests.support.servers.mlflow_server import running_mlflow
from tests.support.traffic import Traffic

pytestmark = [pytest.mark.vllm, pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)]
_SURROUNDINGS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def registered(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register two models as versions 1 and 2 of `chat-llm`, and return MLflow's client."""
    for name in _SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    mlflow.set_tracking_uri(url)
    client = mlflow.MlflowClient(url)
    client.create_registered_model("chat-llm")
    folders = ensure_models(CACHE, print)
    for name in ("v1", "v2"):
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(folders[name]), "model")
        client.create_model_version("chat-llm", f"{run.info.artifact_uri}/model", run.info.run_id)
    return client


def champion(client: Any, cli: Cli) -> int:
    """Return the version that both aliases name."""
    names = ("champion", f"champion-{cli.name}-chat")
    (version,) = {int(client.get_model_version_by_alias("chat-llm", name).version) for name in names}
    return version


def declare(cli: Cli, url: str, serve_command: tuple[str, ...], version: int) -> None:
    """Declare a version, judged as a machine with few cores allows."""
    chat = cli.spec["endpoints"]["chat"]
    chat["release"]["engine"] = {"max_model_len": 2048, "max_num_seqs": 16}
    chat["slo"] = {"error_rate": 0.05}  # what lets a release without a single error pass after some 200 requests
    cli.rollout.update(step_max_s=600, start_timeout_s=600, bake_s=4)
    cli.rollout["judge"]["protect"] = [{"metric": "error_rate", "ratio": 10}, {"metric": "ttft", "ratio": 5}]
    cli.spec["regions"]["local"]["serve_command"] = list(serve_command)
    cli.declare(f"mlflow:chat-llm/{version}", registry={"mlflow": url})


def test_a_release_goes_through_on_real_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_command = require_vllm()
    with running_mlflow(tmp_path) as url, project() as cli:
        client = registered(url, monkeypatch)
        declare(cli, url, serve_command, 1)
        cli.begin("apply", cli.name, "--yes").wait(900).expect(0)
        assert champion(client, cli) == 1
        first = cli.serving()
        with Traffic(cli.port, per_second=20, tokens=8) as traffic:
            declare(cli, url, serve_command, 2)
            cli.begin("apply", cli.name, "--yes").wait(900).expect(0)
            second = cli.serving()
            assert (champion(client, cli), second != first) == (2, True)
            cli.run("rollback", cli.name, "--reason", "tests", code=0)
            assert (champion(client, cli), cli.serving()) == (1, first)
        assert traffic.failed() == 0, traffic.failures
        assert min(traffic.ok(first), traffic.ok(second)) > 0
        began = next(e for e in cli.entries() if e.kind == "begin")
        assert began.body["challenger"]["lineage"]["model"]["run_id"], "the run is kept as lineage"
        cli.verified()
