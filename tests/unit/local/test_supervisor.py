"""The supervisor over small programs: what it starts, restarts, ends, records, and what is left when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import processes
from reconciler.platforms.local.processes import Launch, Supervised, end_folder, launch, marked, read_supervised
from tests.support.processes import guarded_home, kill, left_over
from tests.support.worlds import PATIENCE_S

SLEEP = (sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(600)")
DEAF = (
    sys.executable,
    "-S",
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)
FAMILY = ("/bin/sh", "-c", "sleep 600 & echo up; wait")
FAILS = ("/bin/sh", "-c", "echo no weights; exit 3")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder to supervise a program in; whatever runs there ends with the test."""
    with guarded_home(tmp_path) as home:
        found = home / "test" / "server"
        found.mkdir(parents=True)
        yield found


async def started(folder: Path, command: tuple[str, ...], *, grace_s: float = 30.0) -> Supervised:
    await launch(folder, Launch(command, grace_s, os.environ, pause_first_s=0.05, pause_last_s=0.2), [], where="here")
    return await until(folder, lambda s: s.server is not None)


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def until(folder: Path, wanted: Callable[[Supervised], bool]) -> Supervised:
    deadline = time.monotonic() + PATIENCE_S
    while (found := read_supervised(folder)) is None or not wanted(found):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)
    return found


async def said(folder: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in (folder / "server.log").read_text():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_it_is_nobodys_child_and_small(folder: Path) -> None:
    found = await started(folder, SLEEP)
    status = status_of(found.supervisor.pid)
    assert f"PPid:\t{os.getpid()}\n" not in status
    resident_kb = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kb < 12_000
    assert found.server is not None
    assert os.getsid(found.server.pid) == os.getpgid(found.server.pid) == found.server.pid
    assert found.generation


async def test_a_server_that_dies_is_restarted_and_how_it_died_is_told(folder: Path) -> None:
    first = await started(folder, SLEEP)
    kill(first.server)
    second = await until(folder, lambda s: s.restarts == 1 and bool(s.generation))
    assert second.generation != first.generation
    assert second.last_exit is not None
    assert second.last_exit["code"] == -signal.SIGKILL
    assert second.running


async def test_a_program_that_cannot_be_run_says_so_in_its_log(folder: Path) -> None:
    await launch(folder, Launch(("/no/such/program",), 1.0, os.environ, pause_first_s=0.05), [], where="here")
    found = await until(folder, lambda s: s.last_exit is not None)
    assert found.last_exit is not None
    assert found.last_exit["code"] == 127
    await said(folder, "/no/such/program cannot be started")


async def test_its_last_words_are_the_programs_own(folder: Path) -> None:
    await launch(folder, Launch(FAILS, 1.0, os.environ, pause_first_s=0.05), [], where="here")
    await until(folder, lambda s: s.restarts >= 2)
    assert processes.last_words(folder / "server.log") == "no weights"


async def test_a_killed_supervisor_takes_its_server_along(folder: Path) -> None:
    found = await started(folder, SLEEP)
    kill(found.supervisor)
    await until(folder, lambda s: not s.running and not s.generation)
    assert left_over(folder.parent) == []


@pytest.mark.parametrize(("command", "grace_s"), [(SLEEP, 30.0), (DEAF, 0.2), (FAMILY, 30.0)])
async def test_ending_leaves_nothing(folder: Path, command: tuple[str, ...], grace_s: float) -> None:
    await started(folder, command, grace_s=grace_s)
    await said(folder, "up")
    assert await end_folder(folder, grace_s=grace_s) == []
    assert left_over(folder.parent) == []
    seen = read_supervised(folder)
    assert seen is not None
    assert (seen.phase, seen.running) == ("ended", False)


async def test_children_of_a_killed_server_end_with_it(folder: Path) -> None:
    found = await started(folder, FAMILY)
    await said(folder, "up")
    before = {process.pid for process in marked(folder)}
    assert len(before) == 2
    kill(found.server)
    await until(folder, lambda s: s.restarts == 1 and bool(s.generation))
    assert before.isdisjoint(process.pid for process in marked(folder))


async def test_a_folder_has_one_supervisor(folder: Path) -> None:
    first = await started(folder, SLEEP)
    with pytest.raises(SluiceError) as refused:
        await launch(folder, Launch(SLEEP, 1.0, os.environ), [], where="here")
    assert refused.value.code == "PLAT-008"
    assert "another supervisor" in refused.value.problem.why
    assert first.supervisor.alive


async def test_a_long_log_is_shortened_while_the_server_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 2000)
    loud = ("/bin/sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; sleep 0.01; done")
    await launch(folder, Launch(loud, 1.0, os.environ, look_s=0.05), [], where="here")
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "server.log.1").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert (folder / "server.log.1").stat().st_size <= 2000 + 41
    await until(folder, lambda s: s.running)


async def test_a_state_that_cannot_be_written_ends_the_start(folder: Path) -> None:
    (folder / "state.json.new").mkdir()
    with pytest.raises(SluiceError) as failed:
        await launch(folder, Launch(SLEEP, 1.0, os.environ), [], where="here")
    assert "could not be written" in failed.value.problem.why
    deadline = time.monotonic() + PATIENCE_S
    while left_over(folder.parent):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
