"""Run a real MLflow tracking server on SQLite for tests, with its artifacts behind its own proxy."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support.lifeline import missing

_START_S = 240.0
_LISTENING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its workers for evaluation jobs triple the time to start
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@contextlib.contextmanager
def running_mlflow(folder: Path) -> Iterator[str]:
    """Run a server until the block ends; yields its address."""
    program = Path(sys.executable).with_name("mlflow")
    if not program.exists():
        missing("MLflow is not installed beside this Python", "pip install 'sluice[mlflow]'")
    log = folder / "mlflow.log"
    command = [sys.executable, str(Path(__file__).parents[1] / "leash.py"), str(program), "server"]
    command += ["--host", "127.0.0.1", "--port", "0", "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, **_QUIET})
    with process:
        try:
            yield _address(process, log)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENING.search(log.read_text(errors="replace"))
        if found:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{found[1]}/health", timeout=5):
                return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"MLflow did not start:\n{log.read_text(errors='replace')[-2000:]}")
