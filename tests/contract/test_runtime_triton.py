"""The contract of the `Runtime` port, held by the Triton runtime over the real Triton; and how models are controlled.

Every server is started from the runtime's own repository and command line, so that both are part of what is tested.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from environments.errors import SluiceError
from reconciler.ports import KSERVE, LaysOutFiles, Runtime
from reconciler.runtimes.triton.control import ModelControl, http_control
from reconciler.runtimes.triton.runtime import TritonRuntime
from tests.support.real_engines import CACHE, ROOT
from tests.support.servers import triton_grpc
from tests.support.servers.triton import (
    Served,
    decoupled_folder,
    free_row,
    model_folder,
    release_of,
    running_triton,
    started_triton,
)

pytestmark = [pytest.mark.triton, pytest.mark.engine, pytest.mark.slow]
RUNTIME: Runtime = TritonRuntime()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("triton")
    with running_triton(folder / "files", model_folder(folder, "v1")) as running:
        yield running


@pytest.fixture
async def control(served: Served) -> AsyncIterator[ModelControl]:
    """Control the server over HTTP, and leave the model loaded."""
    made = http_control(served.http, served.control)
    yield made
    await made.load("chat")
    await made.close()


def infer(served: Served, text: str) -> httpx.Response:
    """Ask the model over HTTP as a client does."""
    tensor = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return httpx.post(f"{served.url}/v2/models/chat/infer", json={"inputs": [tensor]}, timeout=60)


def over_grpc(served: Served, *verbs: str, word: str | None = None) -> list[Any]:
    """Ask over gRPC, in a process whose packages can."""
    python = CACHE / "triton" / "venv" / "bin" / "python"
    command = [str(python), triton_grpc.__file__, served.grpc, word or served.control, *verbs]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    answered = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert answered.returncode == 0, answered.stderr
    found: list[Any] = json.loads(answered.stdout)
    return found


def test_the_runtime_lays_out_files_and_speaks_kserve() -> None:
    assert isinstance(RUNTIME, LaysOutFiles)
    assert RUNTIME.offers.protocol == KSERVE


async def test_ready_is_proof_of_the_release(served: Served) -> None:
    assert await RUNTIME.ready(served.url, served.release) is None
    with pytest.raises(SluiceError, match="RUN-002") as caught:
        await RUNTIME.ready(served.url, release_of(Path("v1"), digest="sha256:1"))
    assert served.release.id in caught.value.problem.what


async def test_a_model_that_is_not_there_is_not_ready(served: Served) -> None:
    why = await RUNTIME.ready(served.url, replace(served.release, endpoint="search"))
    assert why == "/v2/models/search/ready answers 400"


async def test_nobody_there_is_not_ready_yet(served: Served) -> None:
    with free_row("nobody") as port:
        why = await RUNTIME.ready(f"http://127.0.0.1:{port}", served.release)
    assert why is not None
    assert "no answer" in why


async def test_warm_up_requests_are_counted(served: Served) -> None:
    before = await RUNTIME.counts(served.url)
    await RUNTIME.warm(served.url, served.release, 9)
    after = await RUNTIME.counts(served.url)
    assert after.requests - before.requests == 9
    assert after.errors == before.errors
    assert after.waiting == 0
    assert after.epoch == before.epoch != ""
    assert after.itl_s == after.answer_s == {}, "this server tells no latency in buckets, and none is made up"


async def test_zero_warm_up_requests_send_nothing(served: Served) -> None:
    before = await RUNTIME.counts(served.url)
    await RUNTIME.warm(served.url, served.release, 0)
    assert (await RUNTIME.counts(served.url)).requests == before.requests


async def test_a_warm_up_of_the_releases_own_is_sent_as_it_is(served: Served) -> None:
    refused = {"inputs": [{"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["error"]}]}
    with pytest.raises(SluiceError, match="RUN-003") as caught:
        await RUNTIME.warm(served.url, replace(served.release, engine={"warmup_request": refused}), 1)
    assert "told to" in caught.value.problem.why
    await RUNTIME.warm(served.url, replace(served.release, engine={"warmup_request": {"TEXT": "good"}}), 1)


async def test_an_error_in_an_answer_is_a_success_to_triton_and_a_failure_to_clients(served: Served) -> None:
    """Why errors are read at the gateway: the server does not count what its clients got."""
    before = await RUNTIME.counts(served.url)
    assert infer(served, "error").status_code == 500
    after = await RUNTIME.counts(served.url)
    assert (after.requests - before.requests, after.errors - before.errors) == (1, 0)


async def test_an_exception_in_a_model_is_counted(served: Served) -> None:
    before = await RUNTIME.counts(served.url)
    assert infer(served, "raise").status_code == 500
    after = await RUNTIME.counts(served.url)
    assert (after.requests - before.requests, after.errors - before.errors) == (1, 1)


def test_answers_over_http_and_grpc(served: Served) -> None:
    assert infer(served, "you").json()["outputs"][0]["data"] == ["hello you"]
    generated = httpx.post(f"{served.url}/v2/models/chat/generate", json={"TEXT": "you"}, timeout=60)
    assert generated.json()["ANSWER"] == "hello you"
    good, bad = over_grpc(served, "infer=you", "infer=error")
    assert good == "hello you"
    assert "told to" in bad


async def test_unload_and_load_over_http(served: Served, control: ModelControl) -> None:
    state = await control.state("chat")
    assert (state.versions, dict(state.inputs), dict(state.outputs)) == (("1",), {"TEXT": "BYTES"}, {"ANSWER": "BYTES"})
    await control.unload("chat")
    assert not await control.ready("chat")
    assert await RUNTIME.ready(served.url, served.release) == "/v2/models/chat/ready answers 400"
    with pytest.raises(SluiceError, match="RUN-009"):
        await control.state("chat")
    await control.load("chat")
    assert await RUNTIME.ready(served.url, served.release) is None


async def test_a_repeat_of_unload_or_load_succeeds(control: ModelControl) -> None:
    for _ in range(2):
        await control.unload("chat")
    for _ in range(2):
        await control.load("chat")
    assert await control.ready("chat")


async def test_what_is_not_in_the_repository_is_not_loaded(control: ModelControl) -> None:
    with pytest.raises(SluiceError, match="RUN-009") as caught:
        await control.load("other")
    assert "other" in caught.value.problem.why


def test_unload_and_load_over_grpc(served: Served) -> None:
    state, _, gone, refused, _, back = over_grpc(served, "state", "unload", "ready", "state", "load", "ready")
    assert (state["versions"], state["inputs"]) == (["1"], {"TEXT": "BYTES"})
    assert (gone, back) == (False, True)
    assert refused[0] == "RUN-009"


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_client_of_the_endpoint_cannot_change_what_is_served(served: Served, verb: str) -> None:
    assert httpx.post(f"{served.url}/v2/repository/models/chat/{verb}", json={}).status_code == 403


async def test_nobody_without_the_word_changes_what_is_served(served: Served) -> None:
    stranger = http_control(served.http, "guessed")
    with pytest.raises(SluiceError, match="RUN-009") as caught:
        await stranger.unload("chat")
    await stranger.close()
    assert "restricted" in caught.value.problem.why
    (over,) = over_grpc(served, "unload", word="guessed")
    assert over[0] == "RUN-009"
    assert await RUNTIME.ready(served.url, served.release) is None


async def test_a_restarted_server_has_another_epoch(tmp_path: Path) -> None:
    model, epochs = model_folder(tmp_path, "v1"), set()
    for number in range(2):
        with running_triton(tmp_path / f"files{number}", model) as running:
            counts = await RUNTIME.counts(running.url)
            epochs.add(counts.epoch)
            assert counts.requests == 0
    assert len(epochs) == 2
    with pytest.raises(SluiceError, match="RUN-005") as caught:
        await RUNTIME.counts(running.url)
    assert caught.value.retryable


async def test_a_model_that_streams_is_warmed_up_and_served(tmp_path: Path) -> None:
    with running_triton(tmp_path / "files", decoupled_folder(tmp_path)) as running:
        await RUNTIME.warm(running.url, running.release, 3)
        async with httpx.AsyncClient(base_url=running.url, timeout=60) as client:
            streamed = await client.post("/v2/models/chat/generate_stream", json={"TEXT": "x"})
        assert streamed.text.count("data:") == 3
        assert (await RUNTIME.counts(running.url)).requests == 4


async def test_of_several_models_the_one_called_as_the_endpoint_is_served(tmp_path: Path) -> None:
    for name in ("chat", "helper"):
        model_folder(tmp_path / "several", name, content=name)
    with running_triton(tmp_path / "files", tmp_path / "several") as running:
        await RUNTIME.warm(running.url, running.release, 2)
        assert (await RUNTIME.counts(running.url)).requests == 2
        assert infer(running, "you").json()["outputs"][0]["data"] == ["chat you"]


async def test_the_version_that_is_asked_for_is_served(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        model_folder(tmp_path, "v", content=f"version {version}", version=version)
    with running_triton(tmp_path / "files", tmp_path / "v", {"version": 2, "instance_count": 2}) as running:
        assert infer(running, "it is").json()["outputs"][0]["data"] == ["version 2 it is"]


@pytest.mark.parametrize("code", ["this is no Python", "import nowhere"])
def test_a_server_whose_model_does_not_load_ends(tmp_path: Path, code: str) -> None:
    model = model_folder(tmp_path, "broken")
    (model / "1" / "model.py").write_text(code)
    with started_triton(tmp_path / "files", model) as started:
        assert started.process.wait(timeout=120) != 0
        assert "failed to load" in started.log.read_text(errors="replace")
