"""Clients of a gateway for tests: one streamed request at a time, many at a steady pace, and one that leaves early."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """What a client got. `whole` is True when the stream ended as streams end; `error` says why nothing came."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    error: str = ""

    @property
    def failed(self) -> bool:
        """Return whether the client got less than it asked for."""
        return self.status != 200 or not self.whole

    @property
    def slot(self) -> str:
        """Return the slot that answered, as the gateway says."""
        return self.headers.get("x-sluice-slot", "")


def completion(tokens: int, *, model: str = "chat") -> bytes:
    """Return the body of a streaming request for so many tokens."""
    return json.dumps({"model": model, "prompt": "hello", "max_tokens": tokens, "stream": True}).encode()


async def stream(port: int, tokens: int = 4, *, path: str = "/chat/v1/completions", slot: str = "") -> Answer:
    """Ask for a stream on a connection of its own and read it to its end."""
    return await post(port, path, completion(tokens, model=path.split("/")[1]), slot=slot)


async def post(port: int, path: str, body: bytes, *, slot: str = "", more: Sequence[str] = ()) -> Answer:
    """Send a body on a connection of its own, with more headers, and read the answer to its end."""
    try:
        reader, writer = await send(port, path, body, slot=slot, more=more)
    except OSError as error:
        return Answer(error=repr(error))
    with contextlib.closing(writer):
        return await _read(reader)


async def get(port: int, path: str, *, slot: str = "") -> Answer:
    """Ask for something that is not streamed."""
    reader, writer = await send(port, path, b"", slot=slot)
    with contextlib.closing(writer):
        return await _read(reader)


async def send(
    port: int, path: str, body: bytes, *, slot: str = "", more: Sequence[str] = ()
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request (POST when it has a body) and return the open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "host: gateway", "connection: close", *more]
    head += ["content-type: application/json", f"content-length: {len(body)}"] if body else []
    head += [f"x-sluice-slot: {slot}"] if slot else []
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    await writer.drain()
    return reader, writer


@contextlib.asynccontextmanager
async def steady(port: int, *, per_second: float, tokens: int = 4) -> AsyncIterator[list[Answer]]:
    """Send streams at a steady pace whatever comes back (open loop) while the block runs; the list fills up."""
    answers: list[Answer] = []
    stop = asyncio.Event()

    async def one() -> None:
        answers.append(await stream(port, tokens))

    async def send_all() -> None:
        async with asyncio.TaskGroup() as group:
            begun, sent = time.monotonic(), 0
            while not stop.is_set():
                sent += 1
                group.create_task(one())
                left = begun + sent / per_second - time.monotonic()
                await asyncio.sleep(max(0.0, left))

    sender = asyncio.create_task(send_all())
    try:
        yield answers
    finally:
        stop.set()
        await sender


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
    except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
        return Answer(error=repr(error))
    body = bytearray()
    try:
        while data := await reader.read(65536):
            body += data
    except ConnectionError as error:
        return Answer(status, headers, bytes(body), error=repr(error))
    return Answer(status, headers, bytes(body), whole=_is_whole(headers, bytes(body)))


def _is_whole(headers: Mapping[str, str], body: bytes) -> bool:
    if headers.get("transfer-encoding") == "chunked":
        events = headers.get("content-type", "").startswith("text/event-stream")
        return body.endswith(b"0\r\n\r\n") and (b"data: [DONE]" in body or not events)
    return len(body) == int(headers.get("content-length", "0"))
