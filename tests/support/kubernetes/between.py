"""What stands between a client and the API server in a test: a TCP proxy that can cut and hang, and a restart."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator

from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.lifeline import dies_with_parent


def restart_api_server(plane: ControlPlane, *flags: str) -> None:
    """Kill the API server, start it again on the same port and state, with more flags, and wait until it is ready.

    Call it on the main thread: Linux takes the thread that starts a child for its parent, and ends the child with it.
    """
    old = plane.processes["kube-apiserver"]
    old.kill()
    old.wait()
    assert isinstance(old.args, list)
    with (plane.folder / "kube-apiserver.log").open("ab") as log:
        plane.processes["kube-apiserver"] = subprocess.Popen(
            [*old.args, *flags],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=plane.folder,
            preexec_fn=dies_with_parent(),
        )
    plane.wait_for("the API server to be back", plane.api.ready, within_s=120.0)


class Between:
    """Passes bytes on, until it is told to `cut` (every connection ends, new ones too) or to `hang` (nothing moves)."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[asyncio.StreamWriter] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._away = False
        self.port = 0
        self.accepted = 0

    def hang(self) -> None:
        """Stop moving bytes; connections stay."""
        self._moving.clear()

    def resume(self) -> None:
        """Pass on bytes and new connections again."""
        self._moving.set()
        self._away = False

    def cut(self, *, stay_away: bool = False) -> None:
        """End every connection; with `stay_away` new ones end at once until `resume`."""
        self._away = stay_away
        for writer in tuple(self._open):
            writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self.accepted += 1
        if self._away:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._open |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._open -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(65536):
                await self._moving.wait()
                writer.write(block)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def between(plane: ControlPlane) -> AsyncIterator[Between]:
    """Run a proxy in front of the control plane's API server until the block ends."""
    proxy = Between(int(plane.cluster.url.rpartition(":")[2]))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.resume()
        proxy.cut()
        server.close()
