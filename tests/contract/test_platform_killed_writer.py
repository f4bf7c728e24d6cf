"""A writer that is killed anywhere in its work: traffic does not notice, and the next writer puts all in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.platforms.local.processes import supervising
from reconciler.ports import finished, read_all
from tests.support.clients import steady, stream
from tests.support.lifeline import dies_with_parent
from tests.support.processes import ROOT
from tests.support.worlds import LocalWorld, local_home, place, seen, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow]
KILLS = 8
WRITER = """
import asyncio, sys
from pathlib import Path
from tests.support.worlds import LocalWorld, place, serve, local_home

async def work(world):
    world.spec = world.spec.model_copy(update={"gateway_port": int(sys.argv[3])})
    world.platform = world.opened()
    print("ready", flush=True)
    while True:
        release = await serve(world, "b", "two")
        await world.platform.mark_warm(place(world, "b"), fence=1)
        for share in (10, 50, 0):
            await world.platform.weigh(world.address, {"a": 100 - share, "b": share}, fence=1)
        await finished(world.platform.stop, place(world, "b"), fence=1)
        print("round", flush=True)

asyncio.run(work(LocalWorld(Path(sys.argv[1]), Path(sys.argv[2]))))
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    """Return a real local region."""
    with local_home(tmp_path) as home:
        yield LocalWorld(home, tmp_path / "models")


def started_writer(world: LocalWorld) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(world.home), str(world.models), str(world.port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=dies_with_parent())


async def test_a_writer_killed_anywhere_loses_no_request(world: LocalWorld) -> None:
    """The kills fall at different moments of the writer's round, which starts, warms, weighs and stops slot b."""
    await serve(world, "a", "one")
    world.release("two")
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    async with steady(world.port, per_second=40) as answers:
        for kill in range(KILLS):
            writer = await asyncio.to_thread(started_writer, world)
            assert writer.stdout
            assert await asyncio.to_thread(writer.stdout.readline) == "ready\n"
            await asyncio.sleep(kill * 0.13)
            os.kill(writer.pid, signal.SIGKILL)
            await asyncio.to_thread(writer.communicate)
            (endpoint,) = await read_all(world.platform)
            assert sum(endpoint.weights.values()) == 100.0
            assert endpoint.gateway_problem is None
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert [a for a in answers if a.failed] == []
    await finished(world.platform.stop, place(world, "b"), fence=1)
    assert (await seen(world, "b")).release is None
    assert len(supervising(world.root)) == 2
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert (await stream(world.port)).slot == "b"
    assert (await until(world, "a", lambda s: s.ready)).restarts == 0
