"""The contract of the `Runtime` port, held by the vLLM runtime over the double and over the real vLLM.

Every server is started from the runtime's own command line, so that the command is part of what is tested.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact, Release
from reconciler.core.model.tokens import tokens_between
from reconciler.demo.models import DEMO_MODELS, ensure_model
from reconciler.ports import Runtime
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.lifeline import dies_with_parent
from tests.support.real_engines import CACHE, require_vllm
from tests.support.servers.doubles import SERVE_COMMAND, model_folder, running_double

START_LIMIT_S = 240.0


@dataclass(frozen=True)
class Served:
    """A server that was started for `release` with the folder `model`, and what it runs as."""

    url: str
    release: Release
    model: str
    process: subprocess.Popen[bytes]


def release_of(model: Path, endpoint: str = "chat") -> Release:
    return Release(
        endpoint=endpoint,
        runtime="vllm",
        model=Artifact(f"file:{model.name}", "sha256:0"),
        engine={"max_model_len": 2048, "max_num_seqs": 16},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(served: Served) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while (why := asyncio.run(VllmRuntime().ready(served.url, served.release))) is not None:
        if served.process.poll() is not None:
            raise AssertionError(f"the server ended with {served.process.returncode}")
        if time.monotonic() > deadline:
            raise AssertionError(f"not ready after {START_LIMIT_S} s: {why}")
        time.sleep(0.1)


@pytest.fixture(
    scope="module",
    params=[
        "double",
        pytest.param(
            "vllm", marks=[pytest.mark.vllm, pytest.mark.engine, pytest.mark.slow, pytest.mark.xdist_group("vllm")]
        ),
    ],
)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start a server from the runtime's command, and end it with its whole process group.

    When the test run is killed the server gets SIGTERM: SIGKILL would leave vLLM's engine process behind.
    """
    folder = tmp_path_factory.mktemp("runtime")
    if request.param == "double":
        command: tuple[str, ...] = SERVE_COMMAND
        model = model_folder(folder)
    else:
        command, model = require_vllm(), ensure_model(DEMO_MODELS[0], CACHE / "models", print)
    release, port = release_of(model.resolve()), free_port()
    paths = {"model": str(model.resolve())}
    line = (*command, *VllmRuntime().options(release, paths=paths, host="127.0.0.1", port=port).arguments)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            line,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),
            cwd=folder,
        )
        try:
            subject = Served(f"http://127.0.0.1:{port}", release, str(model.resolve()), process)
            wait_until_ready(subject)
            yield subject
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def runtime() -> Runtime:
    return VllmRuntime()


async def test_ready_is_proof_of_endpoint_and_model(runtime: Runtime, served: Served) -> None:
    assert await runtime.ready(served.url, served.release, model_path=served.model) is None
    assert await runtime.ready(served.url, served.release) is None
    with pytest.raises(SluiceError, match="RUN-002") as caught:
        await runtime.ready(served.url, replace(served.release, endpoint="search"))
    assert '"search"' in caught.value.problem.what


async def test_another_models_folder_is_another_model(runtime: Runtime, served: Served, tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="RUN-002") as caught:
        await runtime.ready(served.url, served.release, model_path=str(tmp_path))
    assert str(tmp_path) in caught.value.problem.what


async def test_a_link_to_the_models_folder_is_the_same_model(runtime: Runtime, served: Served, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(served.model)
    assert await runtime.ready(served.url, served.release, model_path=str(link)) is None


async def test_nobody_there_is_not_ready_yet(runtime: Runtime, served: Served) -> None:
    why = await runtime.ready(f"http://127.0.0.1:{free_port()}", served.release)
    assert why is not None
    assert "no answer" in why


async def test_warm_up_requests_are_counted_and_whole(runtime: Runtime, served: Served) -> None:
    before = await runtime.counts(served.url)
    await runtime.warm(served.url, served.release, 9)
    after = await runtime.counts(served.url)
    assert after.requests - before.requests == 9
    assert after.ttft_s["+Inf"] - before.ttft_s["+Inf"] == 9
    assert after.itl_s["+Inf"] > before.itl_s["+Inf"]
    assert after.errors == before.errors == 0
    read = tokens_between(before.tokens, after.tokens)
    assert read is not None
    assert read.answers == 9
    assert min(read.input, read.output) >= 9
    assert (after.running, after.waiting) == (0, 0)
    assert after.epoch == before.epoch != ""


async def test_zero_warm_up_requests_send_nothing(runtime: Runtime, served: Served) -> None:
    before = await runtime.counts(served.url)
    await runtime.warm(served.url, served.release, 0)
    assert (await runtime.counts(served.url)).requests == before.requests


async def test_a_request_for_an_unknown_model_fails_the_warm_up(runtime: Runtime, served: Served) -> None:
    before = await runtime.counts(served.url)
    with pytest.raises(SluiceError, match="RUN-003") as caught:
        await runtime.warm(served.url, replace(served.release, endpoint="search"), 3)
    assert "404" in caught.value.problem.why
    after = await runtime.counts(served.url)
    assert ((after.rejected or 0) > (before.rejected or 0), after.errors) == (True, before.errors)


async def test_buckets_are_cumulative_and_ascending(runtime: Runtime, served: Served) -> None:
    await runtime.warm(served.url, served.release, 2)
    counts = await runtime.counts(served.url)
    for histogram in (counts.ttft_s, counts.itl_s):
        bounds, values = [float(le) for le in histogram], list(histogram.values())
        assert bounds == sorted(bounds)
        assert values == sorted(values)
        assert bounds[-1] == float("inf")


async def test_chat_streams_through_the_models_own_template(served: Served) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "stream": True}
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"{served.url}/v1/chat/completions", json=body)
    events = [line for line in answer.text.splitlines() if line.startswith("data:")]
    assert answer.status_code == 200
    assert events[-1] == "data: [DONE]"
    assert len(events) >= 3


async def test_a_server_that_is_not_healthy_is_not_ready(runtime: Runtime, tmp_path: Path) -> None:
    model = model_folder(tmp_path, never_ready=True)
    with running_double(model) as double:
        assert await runtime.ready(double.url, release_of(model)) == "/health answers 503"


async def test_a_broken_stream_fails_the_warm_up(runtime: Runtime, tmp_path: Path) -> None:
    model = model_folder(tmp_path, break_rate=1.0)
    with running_double(model) as double:
        with pytest.raises(SluiceError, match="RUN-003") as caught:
            await runtime.warm(double.url, release_of(model), 3)
        assert caught.value.retryable


async def test_one_error_among_many_fails_the_warm_up(runtime: Runtime, tmp_path: Path) -> None:
    model = model_folder(tmp_path, error_rate=0.2)
    with running_double(model) as double, pytest.raises(SluiceError, match="RUN-003"):
        await runtime.warm(double.url, release_of(model), 40)


async def test_a_dead_servers_counts_are_an_error_and_not_zero(runtime: Runtime, tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path)) as double:
        double.crash()
        with pytest.raises(SluiceError, match="RUN-005") as caught:
            await runtime.counts(double.url)
    assert caught.value.retryable


async def test_a_restarted_server_has_another_epoch(runtime: Runtime, tmp_path: Path) -> None:
    model = model_folder(tmp_path)
    epochs = set()
    for _ in range(2):
        with running_double(model) as double:
            epochs.add((await runtime.counts(double.url)).epoch)
    assert len(epochs) == 2


async def test_server_errors_are_counted(runtime: Runtime, tmp_path: Path) -> None:
    with running_double(model_folder(tmp_path, error_rate=1.0)) as double:
        async with httpx.AsyncClient() as client:
            for _ in range(4):
                await client.post(f"{double.url}/v1/completions", json={"model": "chat", "prompt": "x"})
        counts = await runtime.counts(double.url)
    assert (counts.requests, counts.errors) == (4, 4)
    assert counts.ttft_s["+Inf"] == 0
