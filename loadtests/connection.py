"""Raw HTTP/1.1 connections that carry one streaming request at a time, and the pool that keeps them alive.

Imports `loadtests.events`, `loadtests.http1`, `loadtests.stream` and `loadtests.target`. Called by the engine.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import perf_counter
from typing import cast

from loadtests.events import EventCounter
from loadtests.http1 import HEAD_MAX, Body, Head, OpenBody, body_of, parse_head
from loadtests.stream import Outcome, Stream
from loadtests.target import Target

_DETAIL_MAX = 300
Finished = Callable[[Stream], None]


class Connection(asyncio.Protocol):
    """One connection. It reports a stream to the pool exactly once, and is idle between two streams."""

    __slots__ = ("_body", "_counter", "_head", "_pool", "_raw", "_stream", "_transport", "reused")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._transport: asyncio.WriteTransport | None = None
        self._stream: Stream | None = None
        self._raw = b""
        self._head: Head | None = None
        self._body: Body = OpenBody()
        self._counter = EventCounter()
        self.reused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is one without saying so

    def send(self, stream: Stream) -> None:
        """Write the request of `stream`; its answer is read from now on."""
        assert self._transport is not None
        self._stream = stream
        self._raw = b""
        self._head = None
        self._body = OpenBody()
        self._counter = EventCounter()
        stream.sent = perf_counter()
        self._transport.write(stream.wire)

    def data_received(self, data: bytes) -> None:
        """Take what arrived; every token event in it gets the present time."""
        now = perf_counter()
        stream = self._stream
        if stream is None:
            self.close()
            return
        try:
            if self._head is None:
                data = self._read_head(data)
                if self._head is None:
                    return
            payload = self._body.feed(data)
        except ValueError as error:
            self._finish(Outcome.PROTOCOL, str(error), now, keep=False)
            return
        if payload:
            self._take(payload, stream, now)
        if self._body.done:
            self._complete(now)

    def eof_received(self) -> bool:
        """Close when the server has closed its side."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream that was on the line, or try it once more if the server had closed an idle connection."""
        self._pool.forget(self)
        stream = self._stream
        if stream is None:
            return
        if self.reused and not stream.retried and self._head is None and not self._raw:
            self._stream = None
            stream.retried = True
            self._pool.open(stream)
        elif exc is None and isinstance(self._body, OpenBody) and self._counter.done:
            self._complete(perf_counter())
        else:
            self._finish(Outcome.TRUNCATED, f"the connection closed: {exc or 'by the server'}", perf_counter())

    def abandon(self, outcome: Outcome, detail: str) -> None:
        """Give the stream up: the server sees its client go away."""
        self._finish(outcome, detail, perf_counter(), keep=False)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _read_head(self, data: bytes) -> bytes:
        """Return what follows the head, once the head is whole; an interim 1xx answer is skipped."""
        raw = self._raw + data
        while (end := raw.find(b"\r\n\r\n")) >= 0:
            head = parse_head(raw[:end])
            raw = raw[end + 4 :]
            if head.status >= 200:
                self._head, self._body, self._raw = head, body_of(head), b""
                return raw
        if len(raw) > HEAD_MAX:
            raise ValueError("the head of the answer does not end")
        self._raw = raw
        return b""

    def _take(self, payload: bytes, stream: Stream, now: float) -> None:
        assert self._head is not None
        if self._head.status != 200:
            self._raw = (self._raw + payload)[:_DETAIL_MAX]
            return
        tokens = self._counter.feed(payload)
        if tokens == 1:
            stream.times.append(now)
        elif tokens:
            stream.times.extend([now] * tokens)

    def _complete(self, now: float) -> None:
        """Judge a whole answer."""
        assert self._head is not None
        assert self._stream is not None
        counter, head = self._counter, self._head
        self._stream.usage_out, self._stream.usage_in = counter.usage_out, counter.usage_in
        keep = not head.closes and not isinstance(self._body, OpenBody)
        slot, wanted = head.headers.get("x-sluice-slot"), self._pool.target.slot
        if head.status != 200:
            self._finish(Outcome.HTTP_STATUS, f"HTTP {head.status}: {_text(self._raw)}", now, keep=keep)
        elif wanted is not None and slot is not None and slot != wanted:
            self._finish(Outcome.WRONG_SLOT, f"slot {wanted} was asked for, slot {slot} answered", now, keep=keep)
        elif counter.error is not None:
            self._finish(Outcome.STREAM_ERROR, counter.error, now, keep=keep)
        elif not counter.done:
            self._finish(Outcome.TRUNCATED, "the answer ended without [DONE]", now, keep=keep)
        elif not self._stream.times:
            self._finish(Outcome.EMPTY, "the answer held no token", now, keep=keep)
        else:
            self._finish(Outcome.OK, "", now, keep=keep)

    def _finish(self, outcome: Outcome, detail: str, now: float, *, keep: bool = False) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.outcome, stream.detail, stream.end = outcome, detail, now
        self.reused = True
        if keep:
            self._pool.rest(self)
        else:
            self.close()
        self._pool.finished(stream)


class Pool:
    """Connections to one target: the connection used last is used next, a new one is opened when none is idle."""

    def __init__(self, target: Target, finished: Finished) -> None:
        self.target = target
        self.finished = finished
        self._idle: list[Connection] = []
        self._busy: dict[Stream, Connection | asyncio.Task[None]] = {}
        self._ssl = ssl.create_default_context() if target.scheme == "https" else None

    def send(self, stream: Stream) -> None:
        """Send `stream` on an idle connection, or open one."""
        if self._idle:
            connection = self._idle.pop()
            self._busy[stream] = connection
            connection.send(stream)
        else:
            self.open(stream)

    def open(self, stream: Stream) -> None:
        """Send `stream` on a new connection."""
        self._busy[stream] = asyncio.get_running_loop().create_task(self._open(stream))

    def rest(self, connection: Connection) -> None:
        """Take back a connection that can be used again."""
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def done(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        self._busy.pop(stream, None)

    def abandon(self, stream: Stream, outcome: Outcome, detail: str) -> None:
        """Give up a stream wherever it is."""
        match self._busy.get(stream):
            case Connection() as connection:
                connection.abandon(outcome, detail)
            case asyncio.Task() as task:
                task.cancel()
                self._failed(stream, outcome, detail)
            case None:
                self._failed(stream, outcome, detail)

    def close(self) -> None:
        """Close the idle connections."""
        for connection in tuple(self._idle):
            connection.close()
        self._idle.clear()

    async def _open(self, stream: Stream) -> None:
        target = self.target
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), target.host, target.port, ssl=self._ssl
            )
        except OSError as error:
            self._failed(stream, Outcome.CONNECT, f"cannot connect to {target.origin}: {error}")
            return
        self._busy[stream] = connection
        connection.send(stream)

    def _failed(self, stream: Stream, outcome: Outcome, detail: str) -> None:
        stream.outcome, stream.detail, stream.end = outcome, detail, perf_counter()
        self.finished(stream)


def wire_of(target: Target, path: str, body: bytes, request_id: str) -> bytes:
    """Return the bytes of a POST of `body` to `path` under the target's prefix."""
    host = target.origin.partition("://")[2]
    lines = [
        f"POST {target.prefix}{path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: sluice-load",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {request_id}",
    ]
    if target.slot is not None:
        lines.append(f"X-Sluice-Slot: {target.slot}")
    if target.api_key is not None:
        lines.append(f"Authorization: Bearer {target.api_key}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip()
