"""Models for a real Triton, and a real Triton that serves one as a slot would start it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.core.model.release import Artifact, Release
from reconciler.platforms.local.port_lease import reserve_row
from reconciler.runtimes.triton.layout import CONTROL
from reconciler.runtimes.triton.runtime import TritonRuntime
from tests.support.lifeline import dies_with_parent
from tests.support.real_engines import require_triton

START_LIMIT_S = 120.0
CONFIG = """backend: "python"
max_batch_size: 8
input [{ name: "TEXT" data_type: TYPE_STRING dims: [1] }]
output [{ name: "ANSWER" data_type: TYPE_STRING dims: [1] }]
"""
MODEL = '''
import itertools
import numpy as np
import triton_python_backend_utils as pb

FAIL_EVERY = {fail_every}
COUNT = itertools.count(1)


class TritonPythonModel:
    """Answers each text with its own; `error` and `raise` fail, and so does every FAIL_EVERYth, where that is not 0."""

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        text = pb.get_input_tensor_by_name(request, "TEXT").as_numpy()
        said = text.reshape(-1)[0].decode()
        if said == "raise":
            raise ValueError("told to")
        if said == "error" or (FAIL_EVERY and next(COUNT) % FAIL_EVERY == 0):
            return pb.InferenceResponse(error=pb.TritonError("told to"))
        answer = np.full(text.shape, "{content} " + said, dtype=object)
        return pb.InferenceResponse([pb.Tensor("ANSWER", answer)])
'''
DECOUPLED = '''
import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    """Answers each text in three parts."""

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for part in range(3):
                answer = np.array([f"part {part}"], dtype=object)
                sender.send(pb.InferenceResponse([pb.Tensor("ANSWER", answer)]))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
'''


def model_folder(parent: Path, name: str, *, content: str = "hello", fail_every: int = 0, version: int = 1) -> Path:
    """Make the folder of a model that answers with `content`; every `fail_every`th request fails."""
    folder = parent / name
    (folder / str(version)).mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    code = MODEL.replace("{content}", content).replace("{fail_every}", str(fail_every))
    (folder / str(version) / "model.py").write_text(code)
    return folder


def decoupled_folder(parent: Path) -> Path:
    """Make the folder of a model that streams."""
    folder = parent / "decoupled"
    (folder / "1").mkdir(parents=True)
    policy = "model_transaction_policy { decoupled: true }\n"
    (folder / "config.pbtxt").write_text(CONFIG.replace("max_batch_size: 8", "max_batch_size: 0") + policy)
    (folder / "1" / "model.py").write_text(DECOUPLED)
    return folder


def release_of(artifact: Path, engine: Mapping[str, Any] | None = None, *, digest: str = "sha256:0") -> Release:
    """Return the release of an artifact at the endpoint `chat`."""
    return Release("chat", "triton", Artifact(f"file:{artifact.name}", digest), engine or {})


@dataclass(frozen=True)
class Served:
    """A server that was started for `release`; `control` is the word with which its models are loaded."""

    url: str
    release: Release
    control: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def http(self) -> str:
        """Return HOST:PORT of HTTP."""
        return self.url.removeprefix("http://")

    @property
    def grpc(self) -> str:
        """Return HOST:PORT of gRPC."""
        host, _, port = self.http.partition(":")
        return f"{host}:{int(port) + 1}"


@contextmanager
def free_row(seed: str) -> Iterator[int]:
    """Keep three free ports side by side until the block ends, against every other test and Sluice; give the first."""
    row = reserve_row(seed, TritonRuntime.ports)
    try:
        yield row[0].port
    finally:
        for reservation in row:
            reservation.close()


@contextmanager
def started_triton(folder: Path, artifact: Path, engine: Mapping[str, Any] | None = None) -> Iterator[Served]:
    """Start a server from the runtime's own layout and command, and end it with its whole process group."""
    runtime, release = TritonRuntime(), release_of(artifact, engine)
    folder.mkdir(parents=True, exist_ok=True)
    with free_row(str(folder)) as port:
        yield from _served(runtime, release, artifact, folder, port)


def _served(runtime: TritonRuntime, release: Release, artifact: Path, folder: Path, port: int) -> Iterator[Served]:
    paths = runtime.lay_out(release, paths={"model": str(artifact)}, folder=folder)
    options = runtime.options(release, paths=paths, host="127.0.0.1", port=port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            (*require_triton(), *options.arguments),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),
            cwd=folder,
        )
    try:
        yield Served(f"http://127.0.0.1:{port}", release, paths[CONTROL], process, folder / "log")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running_triton(folder: Path, artifact: Path, engine: Mapping[str, Any] | None = None) -> Iterator[Served]:
    """Start a server and wait until it is ready."""
    with started_triton(folder, artifact, engine) as served:
        deadline = time.monotonic() + START_LIMIT_S
        while (why := _why_not_ready(served)) is not None:
            log = served.log.read_text(errors="replace")[-3000:]
            assert served.process.poll() is None, f"the server ended with {served.process.returncode}:\n{log}"
            assert time.monotonic() < deadline, f"not ready after {START_LIMIT_S} s: {why}\n{log}"
            time.sleep(0.1)
        yield served


def _why_not_ready(served: Served) -> str | None:
    """Ask in a thread of its own: a test may have a loop that runs here."""

    def ask() -> str | None:
        return asyncio.run(TritonRuntime().ready(served.url, served.release))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()
