"""What happens to a real local region when its processes are killed, its files damaged, its gateway refuses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import down, routes
from reconciler.platforms.local.admin import AdminError
from reconciler.platforms.local.ports import try_reserve
from reconciler.platforms.local.processes import Process, read_supervised
from reconciler.platforms.local.state import locked, read_slot
from reconciler.platforms.local.supervisor import start_mark
from tests.support.clients import get, stream
from tests.support.platforms import PATIENCE_S, LocalWorld, local_home, place, seen, serve, until
from tests.support.processes import kill, left_over

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


async def serving(world: LocalWorld) -> None:
    await serve(world, "a", "one")
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)


async def answers(world: LocalWorld) -> None:
    """Ask until an answer comes, as a client with patience does."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := await stream(world.port)).failed:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


async def test_another_process_finds_everything_again(world: LocalWorld) -> None:
    await serving(world)
    assert await world.opened().observe() == await world.platform.observe()


async def test_a_killed_gateway_comes_back_by_itself_with_its_weights(world: LocalWorld) -> None:
    await serving(world)
    epoch = (await world.platform.traffic(world.address))["a"].epoch
    kill(world.gateway().server)
    await answers(world)
    (endpoint,) = await world.platform.observe()
    assert (endpoint.gateway_problem, endpoint.weights) == (None, {"a": 100.0, "b": 0.0})
    assert (await world.platform.traffic(world.address))["a"].epoch != epoch


async def test_a_gateway_whose_supervisor_is_killed_is_told_and_started_by_the_next_writer(world: LocalWorld) -> None:
    await serving(world)
    envoy = world.gateway()
    kill(envoy.supervisor)
    await gone(envoy.server)
    (endpoint,) = await world.platform.observe()
    assert endpoint.gateway_problem == "the gateway and its supervisor are gone"
    assert endpoint.weights == {"a": 100.0, "b": 0.0}
    with pytest.raises(SluiceError, match="PLAT-001"):
        await world.platform.traffic(world.address)
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    await answers(world)


async def test_a_killed_server_serves_again_without_anyone(world: LocalWorld) -> None:
    await serving(world)
    world.crash("a")
    await until(world, "a", lambda s: s.ready and s.restarts == 1)
    await answers(world)


async def test_what_was_hashed_is_what_starts_however_often(world: LocalWorld) -> None:
    """The source is written over in place, with another model: a restart, and a start anew, serve the old one."""
    await serving(world)
    said = (await stream(world.port, tokens=8)).body
    old = (await seen(world, "a")).release
    assert old is not None
    config = world.models / "one" / "config.json"
    config.write_text(config.read_text().replace("one", "two"))
    world.crash("a")
    await until(world, "a", lambda s: s.ready and s.restarts == 1)
    assert texts_in((await stream(world.port, tokens=8)).body) == texts_in(said)
    world.kill("a")
    await world.platform.start(place(world, "a"), old, fence=1)
    await until(world, "a", lambda s: s.ready)
    assert texts_in((await stream(world.port, tokens=8)).body) == texts_in(said)
    new = world.resolved("one")
    assert new.id != old.id
    await world.platform.start(place(world, "b"), new, fence=1)
    await until(world, "b", lambda s: s.ready)
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert texts_in((await stream(world.port, tokens=8)).body) != texts_in(said)


async def test_content_that_is_gone_leaves_the_slot_as_it_is(world: LocalWorld) -> None:
    held = await serve(world, "b", "one")
    planned = world.release("two")
    config = world.models / "two" / "config.json"
    config.write_text(config.read_text().replace("two", "three"))
    with pytest.raises(SluiceError) as refused:
        await world.platform.start(place(world, "b"), planned, fence=1)
    assert (refused.value.code, refused.value.retryable) == ("REG-006", False)
    found = await seen(world, "b")
    assert (found.release, found.ready) == (held, True)


async def test_a_server_that_keeps_dying_says_why_and_is_restarted_ever_slower(world: LocalWorld) -> None:
    release = world.release("bad", exit_on_start=True)
    await world.platform.start(place(world, "a"), release, fence=1)
    found = await until(world, "a", lambda s: s.restarts >= 2)
    assert (found.ready, found.running) == (False, True)
    assert found.problem is not None
    assert "exit code 1" in found.problem
    assert "the double was told to fail at its start" in found.problem
    await world.platform.stop(place(world, "a"), fence=1)
    assert "the double was told to fail at its start" in log_of_last_server(world, "a")


async def test_a_wrong_model_is_fatal(world: LocalWorld) -> None:
    release = world.release("other", wrong_model="somebody-else")
    await world.platform.start(place(world, "a"), release, fence=1)
    found = await until(world, "a", lambda s: s.fatal)
    assert (found.ready, found.running) == (False, True)


async def test_a_program_that_is_not_there_leaves_the_slot_empty(world: LocalWorld) -> None:
    world.spec = world.spec.model_copy(update={"serve_command": ["no-such-program"]})
    with pytest.raises(SluiceError, match="PLAT-008"):
        await world.opened().start(place(world, "a"), world.release("one"), fence=1)
    assert (await seen(world, "a")).release is None


async def test_two_environments_and_regions_stand_side_by_side(world: LocalWorld, home: Path, tmp_path: Path) -> None:
    worlds = [
        world,
        LocalWorld(home, tmp_path / "models", region="second"),
        LocalWorld(home, tmp_path / "models", environment="other"),
    ]
    for each in worlds:
        await serving(each)
    for each in worlds:
        await answers(each)
    await down(home, "test")
    assert left_over(home / "test") == []
    await answers(worlds[2])


async def test_down_leaves_nothing(world: LocalWorld, home: Path) -> None:
    await serving(world)
    await serve(world, "b", "two")
    ports = ports_of(world)
    assert len(set(ports)) == 5
    assert [port for port in ports if is_free(port)] == []
    result = await down(home, "test")
    assert (result.processes, result.folders) == (6, ("local",))
    assert left_over(home) == []
    assert not (home / "test").exists()
    assert [port for port in ports if not is_free(port)] == []
    again = await down(home, "test")
    assert (again.processes, again.folders) == (0, ())


async def test_down_waits_for_whoever_changes_a_region(world: LocalWorld, home: Path) -> None:
    await serving(world)
    async with locked(world.root / "region.lock", wait_s=PATIENCE_S, where="test"):
        going = asyncio.create_task(down(home, "test"))
        await asyncio.sleep(0.05)  # it stands before the lock now
        assert world.supervised("a").running
    assert (await going).processes == 4
    assert not (home / "test").exists()


@pytest.mark.parametrize("damage", ["deleted", "half", "empty"])
async def test_down_works_on_damaged_state(world: LocalWorld, home: Path, damage: str) -> None:
    await serving(world)
    for path in sorted((home / "test").rglob("*.json")):
        match damage:
            case "deleted":
                path.unlink()
            case "half":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case _:
                path.write_bytes(b"")
    await down(home, "test")
    assert left_over(home) == []
    assert not (home / "test").exists()


async def test_damaged_state_is_told_and_a_start_repairs_it(world: LocalWorld) -> None:
    await serving(world)
    server = world.supervised("a").server
    (world.root / "endpoints" / "chat" / "a" / "slot.json").write_text('{"release": {"endpoint": "chat"')
    found = await seen(world, "a")
    assert (found.release, found.running, found.weight_pct) == (None, False, 100.0)
    assert found.problem is not None
    assert "slot.json is damaged" in found.problem
    with pytest.raises(SluiceError, match="PLAT-003"):
        await world.platform.start(place(world, "a"), world.release("two"), fence=1)
    await serve(world, "a", "one")
    assert server is not None
    assert not server.alive
    await answers(world)


@pytest.mark.parametrize("damage", ["damaged", "lost"])
async def test_what_serves_without_a_record_is_named_as_the_gateway_knows_it(world: LocalWorld, damage: str) -> None:
    """So that whoever refuses to begin a rollout over it can say which release it is."""
    await serving(world)
    release = (await seen(world, "a")).release_id
    assert release is not None
    record = world.root / "endpoints" / "chat" / "a" / "slot.json"
    record.write_text("{") if damage == "damaged" else record.unlink()
    found = await seen(world, "a")
    assert (found.release, found.weight_pct, found.ready, found.running) == (None, 100.0, False, False)
    assert found.problem is not None
    assert release in found.problem
    assert (await seen(world, "b")).problem is None


async def test_a_damaged_route_file_is_read_from_the_gateway(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "gateway" / "rds.json").write_text("{")
    (endpoint,) = await world.platform.observe()
    assert endpoint.weights == {"a": 100.0, "b": 0.0}
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, {"a": 90, "b": 10}, fence=1)
    (endpoint,) = await world.platform.observe()
    assert endpoint.weights == {"a": 90.0, "b": 10.0}


async def test_a_lost_route_file_costs_no_other_endpoint_its_routes(world: LocalWorld) -> None:
    await serving(world)
    other = place(world, "a", endpoint="other")
    await world.platform.start(other, world.release("one", endpoint="other"), fence=1)
    await world.platform.weigh(other.address, {"a": 100, "b": 0}, fence=1)
    (world.root / "gateway" / "rds.json").unlink()
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    for endpoint in await world.platform.observe():
        assert endpoint.weights == {"a": 100.0, "b": 0.0}
    assert not (await stream(world.port, path="/other/v1/completions")).failed


async def test_routes_that_are_lost_with_their_gateway_are_not_taken_for_none(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "gateway" / "rds.json").unlink()
    kill(world.gateway().supervisor)
    await gone(world.gateway().server)
    with pytest.raises(SluiceError, match="PLAT-002"):
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert not (world.root / "gateway" / "rds.json").exists()


async def test_a_slow_admin_port_is_no_trouble_of_the_traffic(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are given again to a gateway in trouble, and each time a step begins anew: it would never end."""

    async def slow(port: int) -> list[Any]:
        raise AdminError("TimeoutError")

    await serving(world)
    monkeypatch.setattr("reconciler.platforms.local.admin.route_tables", slow)
    (endpoint,) = await world.platform.observe()
    assert (endpoint.gateway_problem, endpoint.weights) == (None, {"a": 100.0, "b": 0.0})
    envoy = world.gateway().server
    assert envoy is not None
    assert envoy.signal(signal.SIGSTOP)
    try:
        (endpoint,) = await world.platform.observe()
    finally:
        envoy.signal(signal.SIGCONT)
    assert endpoint.gateway_problem is not None
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_damaged_fences_stop_writers_with_a_code(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "fences.json").write_text("[1]")
    with pytest.raises(SluiceError, match="PLAT-002"):
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)


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
    (endpoint,) = await world.platform.observe()
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
    assert envoy.signal(signal.SIGSTOP)
    try:
        with pytest.raises(SluiceError) as silent:
            await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    finally:
        envoy.signal(signal.SIGCONT)
    assert (silent.value.code, silent.value.retryable) == ("PLAT-010", True)
    await answers(world)
    (endpoint,) = await world.platform.observe()
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_a_gateway_port_that_is_taken_is_named_with_its_program(world: LocalWorld) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", world.port))
        other.listen(1)
        with pytest.raises(SluiceError) as taken:
            await world.platform.start(place(world, "a"), world.release("one"), fence=1)
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


async def test_no_process_of_a_region_has_the_callers_secrets(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-servers")
    monkeypatch.setenv("CI_JOB_TOKEN", "not-for-servers")
    monkeypatch.setenv("MODEL_LICENCE", "for-servers")
    world.spec = world.spec.model_copy(update={"serve_env": ["MODEL_LICENCE"]})
    world.platform = world.opened()
    await serving(world)
    server, gateway = world.supervised("a"), world.gateway()
    for process in (server.server, server.supervisor, gateway.server, gateway.supervisor):
        assert process is not None
        assert b"PATH=" in environment_of(process)
        assert b"not-for-servers" not in environment_of(process)
    assert server.server is not None
    assert b"MODEL_LICENCE=for-servers" in environment_of(server.server)
    monkeypatch.delenv("MODEL_LICENCE")
    with pytest.raises(SluiceError, match="PLAT-016"):
        await world.platform.start(place(world, "b"), world.release("two"), fence=1)
    assert (await seen(world, "b")).release is None


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


async def test_a_writer_that_sleeps_before_the_lock_is_refused_inside_it(world: LocalWorld) -> None:
    """The old owner decided and was paused; while it waits for the lock, the new owner acts; then it wakes up."""
    await serving(world)
    await serve(world, "b", "two")
    async with locked(world.root / "region.lock", wait_s=PATIENCE_S, where="test"):
        late = asyncio.create_task(world.opened().weigh(world.address, {"a": 0, "b": 100}, fence=1))
        await asyncio.sleep(0)  # it stands before the lock now
        fences = world.root / "fences.json"
        fences.write_text(json.dumps({"chat": 2}))
    with pytest.raises(SluiceError, match="LEASE-002"):
        await late
    (endpoint,) = await world.platform.observe()
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_two_starts_at_once_leave_one_server(world: LocalWorld) -> None:
    release = world.release("one")
    starts = [each.start(place(world, "a"), release, fence=1) for each in (world.opened(), world.opened())]
    await asyncio.gather(*starts)
    await until(world, "a", lambda s: s.ready)
    assert world.supervised("a").restarts == 0
    assert len(left_over(world.root / "endpoints")) == 2


async def gone(process: Process | None) -> None:
    """Wait until a process has ended."""
    assert process is not None
    deadline = time.monotonic() + PATIENCE_S
    while process.alive:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def texts_in(body: bytes) -> list[str]:
    events = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
    return [json.loads(event)["choices"][0]["text"] for event in events]


def environment_of(process: Process) -> bytes:
    return Path(f"/proc/{process.pid}/environ").read_bytes()


def log_of_last_server(world: LocalWorld, slot: str) -> str:
    return (world.root / "endpoints" / "chat" / f"{slot}.log").read_text()


def ports_of(world: LocalWorld) -> list[int]:
    slots = [read_slot(world.root / "endpoints" / "chat" / slot, "test") for slot in ("a", "b")]
    gateway = json.loads((world.root / "gateway" / "gateway.json").read_text())
    return [*(slot.port for slot in slots if slot), gateway["public"], gateway["pinned"], gateway["admin"]]


def is_free(port: int) -> bool:
    found = try_reserve(port)
    if found is not None:
        found.close()
    return found is not None


def test_a_process_is_told_from_a_later_one_with_its_number(tmp_path: Path) -> None:
    mine = start_mark(os.getpid())
    assert mine is not None
    assert Process(os.getpid(), mine).alive
    later = Process(os.getpid(), mine + "0")
    assert not later.alive
    assert not later.signal(0)
    assert read_supervised(tmp_path) is None
