"""A tiny streaming server that stamps its own time to first token, for tests and benches of the load engine.

Imports only the standard library (uvloop when run as a process). Faults are fields of `Behaviour`, set while it runs.
As a process (`python -m tests.support.servers.sse_server`) it prints `{"port": N}` and ends when its parent does.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from time import perf_counter
from typing import cast

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n%s\r\n"


def _delta(delta: dict[str, str]) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    event = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(event, separators=(",", ":")).encode()


def _text(text: str) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
    event = {"id": "cmpl-0", "object": "text_completion", "created": 0, "model": "m", "choices": [choice]}
    return json.dumps(event, separators=(",", ":")).encode()


_USAGE = b'{"id":"c","created":0,"model":"m","choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}'


def _chunk(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


_TOKEN_CHUNKS = {True: _chunk(_delta({"content": " word"})), False: _chunk(_text(" word"))}
_ROLE_CHUNK = _chunk(_delta({"role": "assistant", "content": ""}))
_END = _chunk(b"[DONE]") + b"0\r\n\r\n"


@dataclass
class Behaviour:
    """How the server answers from now on. Times in seconds; `fail_every` n fails each n-th request (0: none).

    `frozen` keeps requests without an answer; `status` other than 200 refuses; `cut_after` closes the connection
    after so many tokens (-1: never); `capacity` is how many streams run at once, others wait (0: no limit).
    """

    ttft_s: float = 0.005
    itl_s: float = 0.002
    fail_every: int = 0
    status: int = 200
    frozen: bool = False
    cut_after: int = -1
    error_event: bool = False
    slot: str = ""
    capacity: int = 0


@dataclass
class SseServer:
    """The running server: where it is, what it saw, how it behaves."""

    behaviour: Behaviour
    port: int = 0
    requests: int = 0
    open_streams: int = 0
    peak_streams: int = 0
    ttft_s: dict[str, float] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    keep_bodies: bool = True
    waiting: list[_Answer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return the base URL."""
        return f"http://127.0.0.1:{self.port}"

    def started(self, answer: _Answer) -> bool:
        """Admit an answer, or put it in line."""
        limit = self.behaviour.capacity
        if limit and self.open_streams >= limit:
            self.waiting.append(answer)
            return False
        self.open_streams += 1
        self.peak_streams = max(self.peak_streams, self.open_streams)
        return True

    def ended(self) -> None:
        """Let the next in line begin."""
        self.open_streams -= 1
        if self.waiting:
            self.waiting.pop(0).start()


class _Answer:
    """One answer in progress."""

    def __init__(self, connection: _Connection, *, chat: bool, tokens: int, request_id: str) -> None:
        self._connection = connection
        self._server = connection.server
        self._behaviour = Behaviour(**{f.name: getattr(self._server.behaviour, f.name) for f in fields(Behaviour)})
        self._loop = asyncio.get_running_loop()
        self._chat = chat
        self._tokens = tokens
        self._sent = 0
        self._id = request_id
        self._arrived = perf_counter()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False

    def start(self) -> None:
        """Begin to answer when there is room."""
        if self._behaviour.frozen or not self._server.started(self):
            return
        self._running = True
        slot = f"x-sluice-slot: {self._behaviour.slot}\r\n".encode() if self._behaviour.slot else b""
        role = _ROLE_CHUNK if self._chat else b""
        self._connection.write(_HEAD % slot + role)
        self._timer = self._loop.call_later(self._behaviour.ttft_s, self._token)

    def stop(self) -> None:
        """The client has gone, or the answer is whole."""
        if self._timer is not None:
            self._timer.cancel()
        if self in self._server.waiting:
            self._server.waiting.remove(self)
        if self._running:
            self._running = False
            self._server.ended()

    def _token(self) -> None:
        if self._sent == self._behaviour.cut_after:
            self._connection.abort()
            return
        if self._behaviour.error_event:
            self._connection.write(_chunk(b'{"error":{"message":"engine died","code":500}}') + b"0\r\n\r\n")
            self._finish()
            return
        if self._sent == 0:
            self._server.ttft_s[self._id] = perf_counter() - self._arrived
        self._sent += 1
        token = _TOKEN_CHUNKS[self._chat]
        if self._sent >= self._tokens:
            self._connection.write(token + _chunk(_USAGE % (7, self._tokens)) + _END)
            self._finish()
            return
        self._connection.write(token)
        self._timer = self._loop.call_later(self._behaviour.itl_s, self._token)

    def _finish(self) -> None:
        self._connection.answer = None
        self.stop()


class _Connection(asyncio.Protocol):
    def __init__(self, server: SseServer) -> None:
        self.server = server
        self.answer: _Answer | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._raw = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None:
            self.answer.stop()
            self.answer = None

    def data_received(self, data: bytes) -> None:
        self._raw += data
        head, blank, rest = self._raw.partition(b"\r\n\r\n")
        length = _header(head, b"content-length")
        if not blank or len(rest) < int(length or 0):
            return
        self._raw = rest[int(length or 0) :]
        self._request(head, rest[: int(length or 0)])

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def abort(self) -> None:
        assert self._transport is not None
        self._transport.abort()

    def _request(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path == b"/stamps":
            self._json(200, {"ttft_s": self.server.ttft_s, "requests": self.server.requests})
            self.server.ttft_s = {}
            return
        if not path.endswith(b"completions"):
            self._json(200, {"object": "list", "data": [{"id": "m"}]})
            return
        server = self.server
        server.requests += 1
        if server.keep_bodies:
            server.bodies.append(body)
            server.heads.append(head)
        every = server.behaviour.fail_every
        if server.behaviour.status != 200 or (every and server.requests % every == 0):
            self._json(server.behaviour.status if server.behaviour.status != 200 else 503, {"error": "refused"})
            return
        tokens = int(json.loads(body).get("max_tokens", 16))
        request_id = (_header(head, b"x-request-id") or b"").decode()
        self.answer = _Answer(self, chat=b"/chat/" in path, tokens=tokens, request_id=request_id)
        self.answer.start()

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self.write(head % (status, len(body)) + body)


def _header(head: bytes, name: bytes) -> bytes | None:
    low = head.lower()
    start = low.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = low.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


@asynccontextmanager
async def sse_server(behaviour: Behaviour | None = None) -> AsyncIterator[SseServer]:
    """Serve on a free port of loopback within the running loop."""
    state = SseServer(behaviour or Behaviour())
    listener = await asyncio.get_running_loop().create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=4096)
    state.port = listener.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        listener.close()


async def _serve(behaviour: Behaviour) -> None:
    async with sse_server(behaviour) as server:
        server.keep_bodies = False
        gc.collect()
        gc.freeze()
        print(json.dumps({"port": server.port}), flush=True)
        await asyncio.Event().wait()


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, also when that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() == 1:
            sys.exit(1)


def main() -> None:
    """Serve until the parent goes."""
    die_with_parent()
    parser = argparse.ArgumentParser(description=__doc__)
    for item in fields(Behaviour):
        if isinstance(item.default, float | int) and not isinstance(item.default, bool):
            parser.add_argument("--" + item.name.replace("_", "-"), type=type(item.default), default=item.default)
    parser.add_argument("--slot", default="")
    options = parser.parse_args()
    from loadtests.loops import run_fast

    run_fast(_serve(Behaviour(**vars(options))))


if __name__ == "__main__":
    main()
