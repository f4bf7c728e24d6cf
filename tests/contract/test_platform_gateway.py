"""What happens to a real local region when its gateway is slow, silent, refuses, or shall be another one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import admin, routes
from reconciler.platforms.local.admin import AdminError
from reconciler.platforms.local.processes import Process
from reconciler.ports import finished, read_all
from tests.support.clients import get, stream
from tests.support.worlds import (
    PATIENCE_S,
    LocalWorld,
    answers,
    local_home,
    place,
    seen,
    serve,
    serving,
)

pytestmark = pytest.mark.engine


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder whose processes end with the test."""
    with local_home(tmp_path) as folder:
        yield folder


@pytest.fixture
def world(home: Path, tmp_path: Path) -> LocalWorld:
    """Return a real local region."""
    return LocalWorld(home, tmp_path / "models")


async def test_requests_in_flight_are_waited_for_though_the_admin_port_is_slow(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serving(world)
    await serve(world, "b", "two")
    await world.fault("a", held=True)
    early = asyncio.create_task(stream(world.port))
    await in_flight(world, "a")
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    looks, stats = [], admin.stats

    async def slow(port: int, kind: admin.Kind, pattern: str) -> Any:
        if "upstream_rq_active" not in pattern:
            return await stats(port, kind, pattern)
        looks.append(pattern)
        if len(looks) == 10:
            await world.fault("a", held=False)
        if len(looks) < 20:
            raise AdminError("TimeoutError")
        return await stats(port, kind, pattern)

    monkeypatch.setattr("reconciler.platforms.local.admin.stats", slow)
    await finished(world.platform.stop, place(world, "a"), fence=1)
    assert not (await early).failed
    assert len(looks) >= 20


async def stopped(process: Process) -> None:
    """Stop a process, and wait until each of its threads has stopped."""
    assert process.signal(signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while any(state != "T" for state in states_of(process)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def states_of(process: Process) -> list[str]:
    stats = [task.read_text() for task in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]


async def in_flight(world: LocalWorld, slot: str) -> None:
    """Wait until a slot's server has a request."""
    url = (await seen(world, slot)).url
    async with httpx.AsyncClient(base_url=url or "") as client:
        deadline = time.monotonic() + PATIENCE_S
        while (await client.get("/control")).json()["requests"] == 0:
            assert time.monotonic() < deadline


async def test_a_slow_admin_port_is_no_trouble_of_the_traffic(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are given again to a gateway in trouble, and each time a step begins anew: it would never end."""

    async def slow(port: int) -> list[Any]:
        raise AdminError("TimeoutError")

    await serving(world)
    monkeypatch.setattr("reconciler.platforms.local.admin.route_tables", slow)
    (endpoint,) = await read_all(world.platform)
    assert (endpoint.gateway_problem, endpoint.weights) == (None, {"a": 100.0, "b": 0.0})
    envoy = world.gateway().server
    assert envoy is not None
    await stopped(envoy)
    try:
        (endpoint,) = await read_all(world.platform)
    finally:
        envoy.signal(signal.SIGCONT)
    assert endpoint.gateway_problem is not None
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_routes_that_envoy_refuses_are_taken_back(world: LocalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await serving(world)
    await serve(world, "b", "two")
    path = world.root / "gateway" / "rds.json"
    before = path.read_bytes()
    good = routes.route_config

    def broken(table: routes.Table) -> dict[str, Any]:
        response = good(table)
        response["version_info"] = "broken"
        response["resources"][0]["virtual_hosts"][0]["domains"] = ["*", "*"]
        return response

    monkeypatch.setattr("reconciler.platforms.local.gateway.route_config", broken)
    with pytest.raises(SluiceError) as refused:
        await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert refused.value.code == "PLAT-009"
    assert "domain" in refused.value.problem.why
    assert path.read_bytes() == before
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}
    monkeypatch.undo()
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert (await stream(world.port)).slot == "b"


async def test_a_gateway_that_does_not_answer_keeps_its_weights(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serving(world)
    await serve(world, "b", "two")
    monkeypatch.setattr("reconciler.platforms.local.gateway._START_S", 0.5)
    envoy = world.gateway().server
    assert envoy is not None
    await stopped(envoy)
    try:
        with pytest.raises(SluiceError) as silent:
            await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    finally:
        envoy.signal(signal.SIGCONT)
    assert (silent.value.code, silent.value.retryable) == ("PLAT-010", True)
    await answers(world)
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_a_gateway_port_that_is_taken_is_named_with_its_program(world: LocalWorld) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.port))
        other.listen(1)
        with pytest.raises(SluiceError) as taken:
            await finished(world.platform.start, place(world, "a"), world.release("one"), fence=1)
    assert taken.value.code == "PLAT-006"
    assert f"(pid {os.getpid()})" in taken.value.problem.what
    assert (await seen(world, "a")).release is None
    await serving(world)


async def test_another_gateway_port_is_moved_to(world: LocalWorld, home: Path, tmp_path: Path) -> None:
    await serving(world)
    moved = LocalWorld(home, tmp_path / "models", region="unused")
    world.spec = world.spec.model_copy(update={"gateway_port": moved.port})
    await world.opened().weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert (await get(moved.port, "/chat/v1/models")).slot == "a"


async def test_another_gateway_port_that_is_taken_leaves_the_gateway_as_it_is(
    world: LocalWorld, home: Path, tmp_path: Path
) -> None:
    await serving(world)
    envoy, other = world.gateway(), LocalWorld(home, tmp_path / "models", region="unused")
    world.spec = world.spec.model_copy(update={"gateway_port": other.port})
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", other.port))
        taken.listen(1)
        with pytest.raises(SluiceError, match="PLAT-006"):
            await world.opened().weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert world.gateway() == envoy
    assert (await get(world.port, "/chat/v1/models")).slot == "a"


async def test_a_gateway_of_other_settings_is_started_anew(world: LocalWorld) -> None:
    """As one of an earlier version that does not count what this one reads."""
    await serving(world)
    envoy, settings = world.gateway(), world.root / "gateway" / "bootstrap.json"
    settings.write_text(settings.read_text().replace("sluice_cohort", "sluice_earlier"))
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert world.gateway().server != envoy.server
    await answers(world)
