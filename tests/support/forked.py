"""Processes of `sluice` without the half second that its imports take: a process that has done them forks each.

A fork has its own arguments, folder, environment, outputs and signals, ends as an interpreter does and dies with the
test. Only what imports do is shared; `tests/e2e/test_release.py` starts interpreters of their own.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.support.lifeline import dies_with_parent

ROOT = Path(__file__).resolve().parents[2]
_PRELOADED = (
    "httpx",
    "reconciler.cli.apply",
    "reconciler.cli.main",
    "reconciler.cli.plan",
    "reconciler.cli.status",
    "reconciler.compose",
    "reconciler.engine.apply",
    "reconciler.evidence.analyst",
    "reconciler.gates.eval.ask",
    "reconciler.output.progress",
    "reconciler.planning.planner",
    "reconciler.platforms.local.platform",
    "reconciler.store.sql",
    "reconciler.store.writes",
)
_MESSAGE_BYTES = 1 << 20
_DIES_WITH_PARENT = dies_with_parent()


class Forked:
    """A fork that runs or has ended; the parts of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, told: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._told = told

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code, negative when a signal ended it.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None:
            ready, _, _ = select.select([self._told], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("sluice", timeout or 0.0)
            # Nothing to read: whoever forks is gone, and it took the fork along.
            self.returncode = int(os.read(self._told, 64) or -signal.SIGKILL)
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)


class Forker:
    """The process that forks, as seen from the test's; one for each process of tests, started when first needed."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", str(other.fileno())],
            stdin=subprocess.DEVNULL,
            env=environ,
            pass_fds=[other.fileno()],
            preexec_fn=_DIES_WITH_PARENT,
        )
        other.close()

    def fork(
        self, program: Sequence[str], arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: int, err: int
    ) -> Forked:
        """Run a program (`-m MODULE` or a file) in a fork, its outputs going to these descriptors."""
        message = {"program": list(program), "arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], [out, err, writing])
        finally:
            os.close(writing)
        return Forked(int(self._socket.recv(64)), reading)


@cache
def forker() -> Forker:
    """Return this process's forker."""
    return Forker()


def can_fork(program: Sequence[str]) -> bool:
    """Say whether a program can run in a fork."""
    return program[0] == "-m" or program[0].endswith(".py")


def _serve(control: socket.socket) -> dict[str, object]:
    """Fork for each message, tell pids and exit codes, end with the test; return in a fork, with what it is to run."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _reap(running)
        if control.fileno() not in ready:
            continue
        text, descriptors, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
        if not text:
            sys.exit(0)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _DIES_WITH_PARENT()
            os.dup2(descriptors[0], 1)
            os.dup2(descriptors[1], 2)
            for descriptor in (*descriptors, *running.values(), waking, woken, control.detach()):
                os.close(descriptor)
            asked: dict[str, object] = json.loads(text)
            return asked
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        running[pid] = descriptors[2]
        control.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        told = running.pop(pid)
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def _become(asked: Mapping[str, object]) -> None:
    """Be the process that was asked for."""
    program, arguments, env = asked["program"], asked["arguments"], asked["env"]
    assert isinstance(program, list)
    assert isinstance(arguments, list)
    assert isinstance(env, dict)
    os.chdir(str(asked["cwd"]))
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = [program[-1], *arguments]
    if program[0] == "-m":
        importlib.import_module(program[1]).main()
    else:
        runpy.run_path(program[0], run_name="__main__")


def main() -> None:
    """Import, then fork until the test ends."""
    for module in _PRELOADED:
        importlib.import_module(module)
    gc.freeze()
    _become(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
