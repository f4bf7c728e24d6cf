"""A network of its own, without root: every address of a pod is local in it, and no port of this machine is taken."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.lifeline import dies_with_parent, missing

NODE_ADDRESS = "10.99.0.1"
POD_CIDR = "10.244.0.0/16"
_RELAY = Path(__file__).with_name("relay.py")
_SET_UP = f"ip link set lo up && ip addr add {NODE_ADDRESS}/32 dev lo && ip route add local {POD_CIDR} dev lo"
_FIRST_PORT = 20000


class Netns:
    """A `Place`: user, network and mount namespaces that live as long as the process `holder`."""

    pods = True

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder
        self._ports = itertools.count(_FIRST_PORT)
        self._relays: dict[int, tuple[int, subprocess.Popen[bytes]]] = {}

    def command(self, words: Sequence[str], folder: Path) -> list[str]:
        """Return the command that runs another one in the namespaces."""
        enter = ["nsenter", "-t", str(self._holder.pid), "-U", "-n", "-m", "--preserve-credentials", f"--wdns={folder}"]
        return [*enter, *words]

    def free_ports(self, count: int) -> list[int]:
        """Return ports that nobody was given yet: nobody else is there."""
        return [next(self._ports) for _ in range(count)]

    def outside(self, port: int) -> int:
        """Return the port of this machine's loopback that leads to one in here; the first call opens it.

        Call it on the main thread: Linux takes the thread that starts a child for its parent, and ends the child with
        it.
        """
        if port not in self._relays:
            with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
                number = listening.fileno()
                command = self.command([sys.executable, str(_RELAY), str(number), str(port)], Path("/"))
                process = start(command, subprocess.DEVNULL, pass_fds=(number,))
                self._relays[port] = (listening.getsockname()[1], process)
        return self._relays[port][0]

    def children(self) -> list[int]:
        """Return the ids of the processes that this object started."""
        return [process.pid for process in self._processes()]

    def close(self) -> None:
        """End the doors and the namespaces; whoever started other programs in them ends those first."""
        for process in self._processes():
            process.kill()
            process.wait()

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        return [*(process for _, process in self._relays.values()), self._holder]


@contextlib.contextmanager
def netns() -> Iterator[Netns]:
    """Make the namespaces; they end with the block, and with this process however it ends."""
    if lacking := [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]:
        missing(f"not installed: {', '.join(lacking)}", "apt-get install util-linux iproute2")
    holder = subprocess.Popen(
        ["unshare", "-Urnm", "sh", "-c", f"{_SET_UP} && echo ready && exec sleep infinity"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=dies_with_parent(),
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout, holder.stderr:
        if holder.stdout.readline() != b"ready\n":
            import pytest

            holder.kill()
            why = holder.stderr.read().decode().strip()
            holder.wait()
            # No install lifts this, so it is skipped, and said, where CI is set, too.
            pytest.skip(f"this machine lets nobody make a network of their own: {why}; allow user namespaces")
        place = Netns(holder)
        try:
            yield place
        finally:
            place.close()


def start(command: Sequence[str], log: int | None, *, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a program that dies with this process, writing what it says to a file's number."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=pass_fds,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=dies_with_parent(),
    )
