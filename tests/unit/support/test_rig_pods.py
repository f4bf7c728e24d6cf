"""What acts for pods in the rig refuses what a machine without a server refuses, and drains as vLLM does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from environments.names import ENDPOINT_LABEL
from tests.support.clients import Answer, completion, post, send
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.rig.pods import Doors, Server, serves_a_model, set_faults, status_of

DIGEST = "abc123"


def pod(**more: Any) -> Body:
    """Return a server's pod as the platform makes it."""
    container = {
        "name": "server",
        "image": "vllm",
        "args": [f"s3://models/{DIGEST}", "--served-model-name", "chat", "--host", "0.0.0.0", "--max-model-len", "64"],
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
    }
    metadata = {"name": "chat-a-1", "labels": {ENDPOINT_LABEL: "chat"}, "creationTimestamp": "2026-11-30T00:00:00Z"}
    return {"metadata": metadata, "spec": {"containers": [container]}, **more}


@pytest.fixture
async def port_and_doors() -> AsyncIterator[tuple[int, Doors]]:
    """Return the port at which doors listen, none of them open."""
    doors = Doors()
    server = await asyncio.start_server(doors.accept, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], doors
    server.close()


async def ask(port: int, tokens: int = 2) -> Answer:
    """Ask the server of the one pod that has loopback's address here."""
    return await post(port, "/v1/completions", completion(tokens))


async def test_where_no_server_listens_the_connection_is_reset(port_and_doors: tuple[int, Doors]) -> None:
    port, _ = port_and_doors
    assert (await ask(port)).error


async def test_a_pods_server_takes_its_arguments_and_names_itself(
    port_and_doors: tuple[int, Doors], tmp_path: Path
) -> None:
    port, doors = port_and_doors
    doors.open("127.0.0.1", Server(pod(), tmp_path).double)
    answer = await ask(port)
    assert not answer.failed
    assert answer.headers["x-served-by"] == f"{DIGEST}/chat-a-1"
    assert (await ask(port, tokens=100)).status == 400, "its context is 64 tokens"


async def test_a_server_that_drains_ends_its_streams_and_takes_no_more(
    port_and_doors: tuple[int, Doors], tmp_path: Path
) -> None:
    port, doors = port_and_doors
    set_faults(tmp_path, DIGEST, itl_ms=50.0)
    server = Server(pod(), tmp_path)
    doors.open("127.0.0.1", server.double)
    reader, writer = await send(port, "/v1/completions", completion(10))
    await reader.readuntil(b"data: ")
    doors.close("127.0.0.1")
    await server.double.finish()
    assert b"data: [DONE]" in await reader.read()
    writer.close()
    assert (await ask(port)).error


def test_faults_of_a_model_are_taken_while_it_serves(tmp_path: Path) -> None:
    server = Server(pod(), tmp_path)
    assert server.ready
    set_faults(tmp_path, DIGEST, never_ready=True)
    server.refresh()
    assert not server.ready


def test_a_fault_that_would_end_the_process_of_all_pods_is_refused(tmp_path: Path) -> None:
    set_faults(tmp_path, DIGEST, crash_mid_stream=True)
    with pytest.raises(ValueError, match="crash_mid_stream"):
        Server(pod(), tmp_path)


def test_a_pods_pause_before_its_end_is_the_one_that_it_declares(tmp_path: Path) -> None:
    assert Server(pod(), tmp_path).prestop_s == 15


def test_a_condition_keeps_its_time_while_it_holds() -> None:
    first = status_of(pod(), "10.244.1.10", ready=True, started=True)
    for condition in first["conditions"]:
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    again = status_of(pod(status=first), "10.244.1.10", ready=True, started=True)
    assert {c["lastTransitionTime"] for c in again["conditions"]} == {"2026-01-01T00:00:00Z"}
    changed = status_of(pod(status=first), "10.244.1.10", ready=False, started=True)
    moved = {c["type"] for c in changed["conditions"] if c["lastTransitionTime"] != "2026-01-01T00:00:00Z"}
    assert moved == {"Ready", "ContainersReady"}


@pytest.mark.parametrize(("labels", "serves"), [({ENDPOINT_LABEL: "chat"}, True), ({}, False), (None, False)])
def test_only_pods_of_endpoints_serve(labels: dict[str, str] | None, serves: bool) -> None:
    assert serves_a_model({"metadata": {"labels": labels}}) is serves
