"""Start vLLM doubles for a test and steer them; nothing outlives the test, not even one that is killed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.lifeline import dies_with_parent

SERVE_COMMAND = (sys.executable, str(Path(__file__).with_name("vllm_double.py")))
"""What an environment's `serve_command` is set to when the double serves."""


@dataclass(frozen=True)
class RunningDouble:
    """A double that answers at `url`."""

    url: str
    process: subprocess.Popen[str]

    def set(self, **faults: Any) -> None:
        """Change faults while it runs; `tests.support.servers.vllm.faults.Faults` lists them."""
        httpx.post(f"{self.url}/control", json=faults).raise_for_status()

    def seen(self) -> dict[str, Any]:
        """Return what the double has seen: requests, disconnects, the last prompt."""
        content: dict[str, Any] = httpx.get(f"{self.url}/control").raise_for_status().json()
        return content

    def crash(self) -> None:
        """Make the process die as on SIGKILL, and wait until it has."""
        with contextlib.suppress(httpx.TransportError):
            httpx.post(f"{self.url}/control", json={"crash": True})
        self.process.wait(timeout=30)


def model_folder(parent: Path, name: str = "model", *, content: str = "1", **faults: Any) -> Path:
    """Make a model folder for the double: other `content` gives other answers, `faults` are there from the start.

    The weights file is a valid safetensors file without tensors, so that registries accept the folder.
    """
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "note": content}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    if faults:
        (folder / "double.json").write_text(json.dumps(faults, sort_keys=True))
    return folder


@contextlib.contextmanager
def running_double(model: Path, *arguments: str, served: str = "chat") -> Iterator[RunningDouble]:
    """Run a double on a free port until the block ends; the kernel ends it if this process dies first."""
    command = [*SERVE_COMMAND, str(model), "--port", "0", "--served-model-name", served, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=dies_with_parent()) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("listening on "):
                raise RuntimeError(f"the double did not start: exit code {process.wait()}")
            yield RunningDouble(f"http://{line.removeprefix('listening on ').strip()}", process)
        finally:
            process.kill()
