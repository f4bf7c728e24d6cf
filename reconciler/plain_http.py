"""One HTTP GET to a server on this machine: a whole client takes longer to import than this takes to run.

Imports the standard library. Called where a plan looks at live servers; everything else uses httpx.
"""

from __future__ import annotations

import asyncio

_LIMIT = 64 << 20


async def get(host: str, port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET without TLS; the caller sets the time limit.

    Raises:
        OSError: no connection. ValueError, EOFError, asyncio.LimitOverrunError: the answer is not HTTP.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        rest = await reader.read(_LIMIT)
        while more := await reader.read(_LIMIT):
            rest += more
    finally:
        writer.close()
    body = _joined(rest) if "transfer-encoding: chunked" in head else rest
    return int(head.split(" ", 2)[1]), body.decode()


def _joined(chunked: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while True:
        line, _, _ = chunked[at:].partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            return b"".join(parts)
        start = at + len(line) + 2
        parts.append(chunked[start : start + size])
        at = start + size + 2
