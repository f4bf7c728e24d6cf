"""What happens to a real local region when its processes are killed, and what they start from and with."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import down
from reconciler.platforms.local.processes import Process, read_supervised
from reconciler.platforms.local.state import locked
from reconciler.platforms.local.supervisor import start_mark
from reconciler.ports import finished, read_all
from tests.support.clients import stream
from tests.support.processes import kill, left_over
from tests.support.worlds import (
    PATIENCE_S,
    LocalWorld,
    answers,
    gone,
    local_home,
    place,
    seen,
    serve,
    serving,
    until,
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


async def test_another_process_finds_everything_again(world: LocalWorld) -> None:
    await serving(world)
    assert await read_all(world.opened()) == await read_all(world.platform)


async def test_a_killed_gateway_comes_back_by_itself_with_its_weights(world: LocalWorld) -> None:
    await serving(world)
    epoch = (await world.platform.traffic(world.address))["a"].epoch
    kill(world.gateway().server)
    await answers(world)
    (endpoint,) = await read_all(world.platform)
    assert (endpoint.gateway_problem, endpoint.weights) == (None, {"a": 100.0, "b": 0.0})
    assert (await world.platform.traffic(world.address))["a"].epoch != epoch


async def test_a_gateway_whose_supervisor_is_killed_is_told_and_started_by_the_next_writer(world: LocalWorld) -> None:
    await serving(world)
    envoy = world.gateway()
    kill(envoy.supervisor)
    await gone(envoy.server)
    (endpoint,) = await read_all(world.platform)
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
    await finished(world.platform.start, place(world, "a"), old, fence=1)
    await until(world, "a", lambda s: s.ready)
    assert texts_in((await stream(world.port, tokens=8)).body) == texts_in(said)
    new = world.resolved("one")
    assert new.id != old.id
    await finished(world.platform.start, place(world, "b"), new, fence=1)
    await until(world, "b", lambda s: s.ready)
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert texts_in((await stream(world.port, tokens=8)).body) != texts_in(said)


async def test_content_that_is_gone_leaves_the_slot_as_it_is(world: LocalWorld) -> None:
    held = await serve(world, "b", "one")
    planned = world.release("two")
    config = world.models / "two" / "config.json"
    config.write_text(config.read_text().replace("two", "three"))
    with pytest.raises(SluiceError) as refused:
        await finished(world.platform.start, place(world, "b"), planned, fence=1)
    assert (refused.value.code, refused.value.retryable) == ("REG-006", False)
    found = await seen(world, "b")
    assert (found.release, found.ready) == (held, True)


async def test_a_server_that_keeps_dying_says_why_and_is_restarted_ever_slower(world: LocalWorld) -> None:
    release = world.release("bad", exit_on_start=True)
    await finished(world.platform.start, place(world, "a"), release, fence=1)
    found = await until(world, "a", lambda s: s.restarts >= 2)
    assert (found.ready, found.running) == (False, True)
    assert found.problem is not None
    assert "exit code 1" in found.problem
    assert "the double was told to fail at its start" in found.problem
    await finished(world.platform.stop, place(world, "a"), fence=1)
    assert "the double was told to fail at its start" in log_of_last_server(world, "a")


async def test_a_wrong_model_is_fatal(world: LocalWorld) -> None:
    release = world.release("other", wrong_model="somebody-else")
    await finished(world.platform.start, place(world, "a"), release, fence=1)
    found = await until(world, "a", lambda s: s.fatal)
    assert (found.ready, found.running) == (False, True)


async def test_a_program_that_is_not_there_leaves_the_slot_empty(world: LocalWorld) -> None:
    world.spec = world.spec.model_copy(update={"serve_command": ["no-such-program"]})
    with pytest.raises(SluiceError, match="PLAT-008"):
        await finished(world.opened().start, place(world, "a"), world.release("one"), fence=1)
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
        await finished(world.platform.start, place(world, "b"), world.release("two"), fence=1)
    assert (await seen(world, "b")).release is None


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
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_two_starts_at_once_leave_one_server(world: LocalWorld) -> None:
    release = world.release("one")
    starts = [finished(each.start, place(world, "a"), release, fence=1) for each in (world.opened(), world.opened())]
    await asyncio.gather(*starts)
    await until(world, "a", lambda s: s.ready)
    assert world.supervised("a").restarts == 0
    assert len(left_over(world.root / "endpoints")) == 2


def texts_in(body: bytes) -> list[str]:
    events = [line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: {")]
    return [json.loads(event)["choices"][0]["text"] for event in events]


def environment_of(process: Process) -> bytes:
    return Path(f"/proc/{process.pid}/environ").read_bytes()


def log_of_last_server(world: LocalWorld, slot: str) -> str:
    return (world.root / "endpoints" / "chat" / f"{slot}.log").read_text()


def test_a_process_is_told_from_a_later_one_with_its_number(tmp_path: Path) -> None:
    mine = start_mark(os.getpid())
    assert mine is not None
    assert Process(os.getpid(), mine).alive
    later = Process(os.getpid(), mine + "0")
    assert not later.alive
    assert not later.signal(0)
    assert read_supervised(tmp_path) is None
