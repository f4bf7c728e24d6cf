"""Local regions for tests: whatever they start ends with the test, even when the test itself is killed.

Servers outlive the process that starts them, on purpose. So a guard stands beside each test: a process that waits for
the end of a pipe that the test holds, and then takes everything down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from environments.names import SHARED_FOLDERS
from reconciler.platforms.local import down
from reconciler.platforms.local.port_lease import handing_over, reserve
from reconciler.platforms.local.processes import Process, marked, supervising

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def guarded_home(folder: Path) -> Iterator[Path]:
    """Give a state folder; when the block ends, or this process does, every process that belongs to it is ended."""
    home = folder / ".sluice"
    home.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.support.processes", str(home)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    try:
        yield home
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(timeout=120)
    assert left_over(home) == []


def left_over(home: Path) -> list[Process]:
    """Return every process that belongs to a state folder."""
    return [*supervising(home), *marked(home)]


def free_port(seed: object) -> int:
    """Return a port that nobody has now and that outgoing connections never get."""
    found = reserve(f"test {seed} {os.getpid()}")
    with handing_over([found]):
        return found.port


def kill(process: Process | None) -> None:
    """Kill a process as `kill -9` does."""
    assert process is not None
    assert process.signal(signal.SIGKILL)


def _take_down(home: Path) -> None:
    for environment in sorted(p.name for p in home.iterdir() if p.is_dir() and p.name not in SHARED_FOLDERS):
        asyncio.run(down(home, environment))


if __name__ == "__main__":
    sys.stdin.read()
    _take_down(Path(sys.argv[1]))
