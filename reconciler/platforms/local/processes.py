"""Processes of this machine: told apart by number *and* start, started under a supervisor, ended for sure.

Imports the supervisor's file names. Called by `slots`, `gateway` and `down`. Linux only: it reads /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from reconciler.platforms.local import supervisor
from reconciler.platforms.local.port_lease import Reservation
from reconciler.platforms.local.state import write_json
from reconciler.platforms.local.supervisor import MARK, SPEC, STATE, start_mark

_LAUNCH_S = 20.0
_POLL_S = 0.02
LOG_BYTES = 8 << 20


@dataclass(frozen=True)
class Process:
    """A process that a number alone would not name for sure."""

    pid: int
    start: str

    @property
    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return start_mark(self.pid) == self.start

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; return False when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            # The handle was opened first, so the number cannot pass to another process between check and signal.
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


@dataclass(frozen=True)
class Supervised:
    """What a supervisor last wrote of itself and its server; `last_exit` has `code`, `at` and `after_s`."""

    phase: str
    supervisor: Process
    server: Process | None
    restarts: int
    last_exit: dict[str, Any] | None

    @property
    def running(self) -> bool:
        """Return whether somebody will bring the server back."""
        return self.phase not in ("ending", "ended") and self.supervisor.alive

    @property
    def generation(self) -> str:
        """Return a text that changes when the server is started again; empty when none runs."""
        return f"{self.server.pid}:{self.server.start}" if self.server and self.server.alive else ""


@dataclass(frozen=True)
class Launch:
    """How a server is to be kept running. Times in seconds; `look_s` is how often its log's length is looked at.

    `environment` is all that server and supervisor have of one. It is handed over in memory and never written down.
    """

    command: tuple[str, ...]
    grace_s: float
    environment: Mapping[str, str]
    pause_first_s: float = 0.5
    pause_last_s: float = 30.0
    stable_s: float = 60.0
    look_s: float = 5.0


async def launch(folder: Path, wanted: Launch, ports: Sequence[Reservation], *, where: str) -> None:
    """Start a server under a supervisor of its own, which inherits the ports; return when its process exists.

    Raises:
        SluiceError: `PLAT-008` it could not be started; `PLAT-014` not on this system.
    """
    if not sys.platform.startswith("linux"):
        raise SluiceError(
            "PLAT-014",
            where=where,
            what=f"the local platform does not run on {sys.platform}",
            why="it tells processes apart by /proc and has the kernel end servers whose supervisor died",
            do="use Linux, a virtual machine or a container; or another platform for this region",
        )
    locks = [reservation.lock.fileno() for reservation in ports]
    spec = {
        "command": list(wanted.command),
        "cwd": os.getcwd(),
        "grace_s": wanted.grace_s,
        "pause_first_s": wanted.pause_first_s,
        "pause_last_s": wanted.pause_last_s,
        "stable_s": wanted.stable_s,
        "look_s": wanted.look_s,
        "log_bytes": LOG_BYTES,
        "port_locks": locks,
    }
    write_json(folder / SPEC, spec)
    said = await _supervise(folder, locks, wanted.environment)
    if said != "ok":
        raise SluiceError(
            "PLAT-008",
            where=where,
            what=f"{wanted.command[0]} could not be started",
            why=said or "its supervisor ended at once",
            do=f"look at {folder}",
        )


async def _supervise(folder: Path, locks: Sequence[int], environment: Mapping[str, str]) -> str:
    """Run a supervisor for a folder and return what it says: `ok`, or why the server was not started."""
    try:
        (folder / STATE).unlink(missing_ok=True)
        starter = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", supervisor.__file__, str(folder / SPEC)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=locks,
            start_new_session=True,
            env=dict(environment),
        )
        said, _ = await asyncio.wait_for(starter.communicate(), _LAUNCH_S)
    except TimeoutError:
        return "its supervisor did not answer in time"
    except OSError as error:
        return str(error)
    return said.decode(errors="replace")


def read_supervised(folder: Path) -> Supervised | None:
    """Return what the supervisor of a folder wrote; None when there never was one, or its file is not whole."""
    try:
        data = json.loads((folder / STATE).read_text(encoding="utf-8"))
        server = data["server"]
        return Supervised(
            phase=data["phase"],
            supervisor=Process(int(data["supervisor"]["pid"]), str(data["supervisor"]["start"])),
            server=Process(int(server["pid"]), str(server["start"])) if server else None,
            restarts=int(data["restarts"]),
            last_exit=data["last_exit"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def end(processes: Iterable[Process], *, grace_s: float) -> list[Process]:
    """End processes: SIGTERM, SIGKILL for what is left after the grace. Return those that still live, usually none."""
    living = [process for process in processes if process.signal(signal.SIGTERM)]
    living = await _wait_gone(living, grace_s)
    for process in living:
        process.signal(signal.SIGKILL)
    return await _wait_gone(living, 5.0)


async def end_folder(folder: Path, *, grace_s: float) -> list[Process]:
    """End supervisor and server of a folder and whatever else carries its mark; return what still lives."""
    found = read_supervised(folder)
    supervisors = {found.supervisor} if found else set()
    left = await end(supervisors | set(supervising(folder)), grace_s=grace_s + 2.0)
    for _ in range(3):
        strays = marked(folder)
        if not strays:
            break
        left = await end(strays, grace_s=1.0)
    return left


def marked(folder: Path) -> list[Process]:
    """Return the servers whose environment says that they belong to a folder or one inside it, ours excepted."""
    wanted = f"{MARK}={folder}".encode()
    found = []
    for pid in _numbers():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = any(v == wanted or v.startswith(wanted + b"/") for v in variables)
        start = start_mark(pid) if ours and pid != os.getpid() else None
        if start:
            found.append(Process(pid, start))
    return found


def supervising(folder: Path) -> list[Process]:
    """Return the supervisors that were started for a folder or one inside it, whatever their state files say."""
    prefix = f"{folder}/".encode()
    found = []
    for pid in _numbers():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = supervisor.__file__.encode() in words and any(w.startswith(prefix) for w in words)
        start = start_mark(pid) if ours else None
        if start:
            found.append(Process(pid, start))
    return found


def last_words(log: Path, lines: int = 1) -> str:
    """Return the last lines that a server itself wrote; empty when it wrote none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    said = [line.strip() for line in text.splitlines() if line.strip() and " sluice: " not in line]
    return "\n".join(said[-lines:])


async def _wait_gone(processes: Sequence[Process], seconds: float) -> list[Process]:
    until = time.monotonic() + seconds
    living = [process for process in processes if process.alive]
    while living and time.monotonic() < until:
        await asyncio.sleep(_POLL_S)
        living = [process for process in living if process.alive]
    return living


def _numbers() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdigit())
