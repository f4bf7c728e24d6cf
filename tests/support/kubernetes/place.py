"""Where the programs of a control plane run: on this machine's loopback, or wherever else their ports are reached."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """A network in which programs listen on its loopback. `pods` says whether pods have addresses there."""

    @property
    def pods(self) -> bool:
        """Return whether something there answers at the addresses of pods, in `POD_CIDR`."""
        ...

    def command(self, words: Sequence[str], folder: Path) -> list[str]:
        """Return the command that runs another one there, with a working directory."""
        ...

    def free_ports(self, count: int) -> list[int]:
        """Return ports that are free there."""
        ...

    def outside(self, port: int) -> int:
        """Return the port of this machine's loopback that leads to one there."""
        ...


class Loopback:
    """This machine's own loopback. Pods have no network."""

    pods = False

    def command(self, words: Sequence[str], folder: Path) -> list[str]:
        """Return the command as it is."""
        return list(words)

    def free_ports(self, count: int) -> list[int]:
        """Return ports that were free a moment ago; a start that loses one to another process is tried again."""
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return ports

    def outside(self, port: int) -> int:
        """Return the port itself."""
        return port
