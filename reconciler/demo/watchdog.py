"""Ends what the demo started when the demo is gone, however it went: also after kill -9.

Runs as a process of its own. Its standard input is a pipe that only the demo holds open: each line names a process
group to end, and the end of the pipe means that the demo has ended. Imports the local platform's `down`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from environments.here import module

_GRACE_S = 10.0
_FINISH_S = 120.0


class Watchdog:
    """The demo's side: tells the watchdog what to end, and waits for it."""

    def __init__(self, home: Path, environment: str) -> None:
        command = [sys.executable, "-m", module("reconciler.demo.watchdog"), str(home), environment]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._guarded: list[subprocess.Popen[bytes]] = []

    def guard(self, process: subprocess.Popen[bytes]) -> None:
        """Have a process group ended with the demo; the process must lead its group."""
        self._guarded.append(process)
        self._tell(f"{process.pid}")

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run a command to its end and return its exit code; it ends with the demo, however that ends.

        A command that outlived a killed demo would bring back the servers that were ended behind it.
        """
        process = subprocess.Popen(command, env=environ, start_new_session=True)
        self.guard(process)
        code = process.wait()
        self._guarded.remove(process)
        self._tell(f"-{process.pid}")  # the number may belong to anybody now
        return code

    def _tell(self, line: str) -> None:
        if self._process.stdin:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def finish(self) -> None:
        """End everything now and wait until it is gone.

        Dead children are collected meanwhile: one that nobody asks about still looks alive to the watchdog.
        """
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        deadline = time.monotonic() + _FINISH_S
        while [each for each in (self._process, *self._guarded) if each.poll() is None]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the watchdog has not ended everything after {_FINISH_S:g} s")
            time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Wait for the end of standard input, then end every group named there and the environment's own processes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in groups_of(sys.stdin):
        end_group(group)
    from reconciler.platforms.local.down import down

    asyncio.run(down(Path(arguments[0]), arguments[1]))


def groups_of(lines: Iterable[str]) -> list[int]:
    """Return the groups that were named and not taken back (`-NUMBER`), in their order."""
    groups: dict[int, None] = {}
    for line in lines:
        number = line.strip().removeprefix("-")
        if number.isdigit() and line.startswith("-"):
            groups.pop(int(number), None)
        elif number.isdigit():
            groups[int(number)] = None
    return list(groups)


def end_group(group: int) -> None:
    """End a process group: politely, then for good; succeed if it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + _GRACE_S
        while _exists(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        if not _exists(group):
            return


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
