"""Several processes on one store: writing together, killed, paused, and out of disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.store.connect import open_store
from tests.contract.conftest import Database
from tests.support.lifeline import dies_with_parent
from tests.support.servers.postgres import PostgresServer
from tests.support.store_worker import ENVIRONMENT, append_one

ROOT = Path(__file__).parents[2]
BALLAST_KIB = 96


class Worker:
    """A worker process and what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """Return the next line it prints; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        """Return all further lines."""
        assert self.process.stdout is not None
        return [line.strip() for line in self.process.stdout]

    def say(self, text: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()


@contextlib.contextmanager
def worker(url: str, home: Path, command: str, argument: str, *, wrap: tuple[str, ...] = ()) -> Iterator[Worker]:
    """Run a worker process until the block ends."""
    line = [*wrap, sys.executable, "-m", "tests.support.store_worker", command, url, str(home), argument]
    process = subprocess.Popen(
        line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=dies_with_parent()
    )
    with process:
        try:
            yield Worker(process)
        finally:
            process.kill()


async def test_two_processes_make_one_chain(database: Database) -> None:
    """Both begin with a database that is not there yet, so that they also race for creating it."""
    with (
        worker(database.url, database.home, "append", "200") as one,
        worker(database.url, database.home, "append", "200") as two,
    ):
        numbers = [one.rest(), two.rest()]
    assert sorted(int(n) for part in numbers for n in part) == list(range(1, 401))
    store = database.open()
    found = await store.verify(ENVIRONMENT)
    assert (found.ok, found.checked) == (True, 400)
    actors = [e.actor async for e in store.entries(ENVIRONMENT)]
    assert {actors.count(a) for a in set(actors)} == {200}
    await store.close()


async def test_a_writer_killed_at_any_moment_leaves_a_whole_chain(database: Database) -> None:
    told: list[int] = []
    for round_ in range(5):
        with worker(database.url, database.home, "append", "100000") as victim:
            told += [int(victim.line()) for _ in range(7 + round_)]
            os.kill(victim.process.pid, signal.SIGKILL)
            told += [int(line) for line in victim.rest() if line]
        store = database.open()
        found = await store.verify(ENVIRONMENT)
        assert found.ok, found.problem
        assert found.checked in (told[-1], told[-1] + 1)
        assert (await append_one(store, 0)) == found.checked + 1
        told.append(found.checked + 1)
        await store.close()
    assert len(set(told)) == len(told)


async def test_a_paused_writer_that_wakes_up_late_writes_nothing(database: Database) -> None:
    with worker(database.url, database.home, "hold", "sleeper") as sleeper:
        assert sleeper.line() == "1"
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        with pytest.raises(SluiceError, match="sleeper"):
            await database.open(own_clock=True).acquire("prod/chat", "me", ttl_s=5)
        database.time.now = time.time() + 3600
        store = database.open()
        mine = await store.acquire("prod/chat", "me", ttl_s=3600)
        assert mine.token == 2
        assert await append_one(store, 0, mine) == 1
        sleeper.say("go on")
        os.kill(sleeper.process.pid, signal.SIGCONT)
        said = sleeper.rest()
    assert [line.split()[:2] for line in said] == [["error", "LEASE-002"]]
    assert [e.seq async for e in store.entries(ENVIRONMENT)] == [1]
    await store.close()


async def test_a_full_disk_is_told_and_leaves_a_whole_chain(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the disk; a real full disk is below, where a test may mount one."""
    url, home = "sqlite:///.sluice/test.db", tmp_path / ".sluice"
    script = f'ulimit -f {BALLAST_KIB * 2}; exec "$@"'
    await open_store(url, home=home).close()
    with worker(url, home, "append", "100000", wrap=("/bin/sh", "-c", script, "sh")) as full:
        said = full.rest()
    await _check_full(said, url, home)


def _may_mount(unshare: tuple[str, ...], folder: Path) -> bool:
    command = [*unshare, 'mount -t tmpfs -o size=240k none "$0"', str(folder)]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


async def test_a_full_tmpfs_is_told_and_leaves_a_whole_chain(tmp_path: Path) -> None:
    unshare = ("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c")
    url, disk = "sqlite:///test.db", tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=240k none "$0" && cp "$1"/* "$0" && cd "$2" && "$@"; cp "$0"/test.db "$1"'
    if not _may_mount(unshare, disk):
        pytest.skip("mounting a small file system needs root; the test above runs the same without")
    saved = tmp_path / "saved"
    await open_store(url, home=saved / ".sluice").close()
    script = mount.replace('"$2"', f'"{ROOT}"').replace('"$1"', f'"{saved}"')
    with worker(url, disk / ".sluice", "append", "100000", wrap=(*unshare, script, str(disk))) as full:
        said = full.rest()
    await _check_full(said, url, saved / ".sluice")


async def _check_full(said: list[str], url: str, home: Path) -> None:
    *numbers, last = said
    assert last.startswith('error STORE-001 could not write ledger entry "weigh" for prod/eu/chat')
    assert "nothing of it was written" in last
    assert [int(n) for n in numbers] == list(range(1, len(numbers) + 1))
    assert len(numbers) > 10
    store = open_store(url, home=home)
    found = await store.verify(ENVIRONMENT)
    assert (found.ok, found.checked) == (True, len(numbers))
    assert await append_one(store, 0) == len(numbers) + 1
    await store.close()


@pytest.mark.engine
async def test_a_server_that_goes_away_is_told_and_comes_back(postgres: PostgresServer, tmp_path: Path) -> None:
    store = open_store(postgres.new_database(), home=tmp_path)
    assert await append_one(store, 1) == 1
    postgres.stop()
    try:
        with pytest.raises(SluiceError) as refused:
            await append_one(store, 2)
        assert (refused.value.code, refused.value.retryable) == ("STORE-001", True)
        with pytest.raises(SluiceError, match="STORE-008"):
            await store.rollouts("prod")
    finally:
        postgres.start()
    assert await append_one(store, 3) == 2
    assert (await store.verify(ENVIRONMENT)).checked == 2
    await store.close()


async def test_a_database_that_was_deleted_is_told(tmp_path: Path) -> None:
    store = open_store("sqlite:///.sluice/test.db", home=tmp_path / ".sluice")
    assert await append_one(store, 1) == 1
    shutil.rmtree(tmp_path / ".sluice")
    with pytest.raises(SluiceError, match="STORE-001"):
        await append_one(store, 2)
    with pytest.raises(SluiceError, match="STORE-008"):
        await store.rollouts("prod")
