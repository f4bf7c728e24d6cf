"""A real MLflow server on SQLite for the demo, with models and prompts registered in it. Imports mlflow when called."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from environments.errors import SluiceError

_START_S = 180.0
_LISTENING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def start_mlflow(folder: Path) -> subprocess.Popen[bytes]:
    """Start a server that keeps everything in `folder`, on a port that the system chooses, leading its own group."""
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", "0"]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "mlflow.log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **_QUIET}, start_new_session=True
        )


def address_of(process: subprocess.Popen[bytes], folder: Path) -> str:
    """Return the server's address once it answers.

    Raises:
        SluiceError: `DEMO-001` it ended, or does not answer.
    """
    log = folder / "mlflow.log"
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENING.search(log.read_text(errors="replace"))
        if found and _answers(found[1]):
            return found[1]
        time.sleep(0.2)
    raise SluiceError(
        "DEMO-001",
        where=str(log),
        what="the MLflow server did not start",
        why=log.read_text(errors="replace")[-400:].strip(),
    )


def register(address: str, models: Mapping[str, Path], prompts: Mapping[str, str]) -> None:
    """Register `models` as versions of `chat-llm` and `prompts` as versions of `chat-system`, in their order."""
    os.environ.update({**_QUIET, "MLFLOW_TRACKING_URI": address, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"})
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    import mlflow
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # after the import, which sets it to INFO
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    mlflow.set_tracking_uri(address)
    client.create_registered_model("chat-llm", description="the demo's chat model")
    for name, folder in models.items():
        run = client.create_run("0", run_name=f"train-{name}", tags={"dataset": "demo-corpus"})
        client.log_artifacts(run.info.run_id, str(folder), "model")
        client.create_model_version("chat-llm", f"runs:/{run.info.run_id}/model", run.info.run_id, description=name)
        client.set_terminated(run.info.run_id)
    for text in prompts.values():
        mlflow.genai.register_prompt("chat-system", text)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False
