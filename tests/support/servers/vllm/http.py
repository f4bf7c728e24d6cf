"""Enough HTTP/1.1 for the double: requests with a body, plain and chunked answers, connections that stay open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
BODY_LIMIT = 8 * 2**20


@dataclass(frozen=True)
class Request:
    """One request. Header names are in lower case, the path has no query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request of a connection, or None when the client has closed it.

    Raises:
        ValueError: it is no HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Request(method, target.partition("?")[0], headers, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = int(headers.get("content-length", "0"))
    if length > BODY_LIMIT:
        raise ValueError(f"body of {length} bytes")
    return await reader.readexactly(length) if length else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        if size + sum(map(len, parts)) > BODY_LIMIT:
            raise ValueError("body too long")
        parts.append(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers carry nothing that the double needs
    return b"".join(parts)


class Reply:
    """Writes one answer, with the lines `head` in every head. `status` is 0 until something was sent."""

    def __init__(self, writer: asyncio.StreamWriter, head: Sequence[str] = ()) -> None:
        self._writer, self._lines = writer, head
        self.status = 0

    async def whole(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Send an answer of known length."""
        self._head(status, [f"content-length: {len(body)}", f"content-type: {content_type}"])
        self._writer.write(body)
        await self._writer.drain()

    async def json(self, status: int, content: Any) -> None:
        """Send JSON."""
        await self.whole(status, json.dumps(content, separators=(",", ":")).encode())

    async def start_events(self) -> None:
        """Send the head of an event stream."""
        self._head(200, ["content-type: text/event-stream; charset=utf-8", "transfer-encoding: chunked"])
        await self._writer.drain()

    async def event(self, data: str) -> None:
        """Send one event.

        Raises:
            ConnectionError: the client is gone.
        """
        payload = f"data: {data}\n\n".encode()
        self._writer.write(b"%x\r\n%b\r\n" % (len(payload), payload))
        await self._writer.drain()
        if self._writer.is_closing():
            raise ConnectionResetError("client closed the stream")

    async def end_events(self) -> None:
        """End the event stream in the way that tells the client that nothing is missing."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def drop(self) -> None:
        """Cut the connection without ending the answer."""
        transport = self._writer.transport
        transport.abort()

    def _head(self, status: int, lines: list[str]) -> None:
        self.status = status
        first = f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}"
        self._writer.write("\r\n".join([first, "server: uvicorn", *self._lines, *lines, "", ""]).encode())
