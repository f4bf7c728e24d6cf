"""Carries bytes from a listening socket that it inherited to a port of the network in which it runs.

`python relay.py FD PORT`. A socket stays in the network in which it was made, so this is a door between two of them.
Imports only the standard library.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def main(number: int, port: int) -> None:
    """Serve until killed."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()  # as if nobody listened
            return
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    listening = socket.socket(fileno=number)
    listening.setblocking(False)
    async with await asyncio.start_server(accept, sock=listening) as server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
