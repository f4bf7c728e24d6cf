"""One GET, framed as HTTP/1.1 frames it: whatever the server does with the connection afterwards, and nothing cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from reconciler import plain_http

PATIENCE_S = 60.0
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(*parts: bytes, stays: bool) -> Server:
    """Return a server that answers with these bytes, and then closes or keeps the connection until the client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if stays:
            await reader.read()
        writer.close()

    return serve


async def get(server: Server) -> tuple[int, str]:
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening, asyncio.timeout(PATIENCE_S):
        port = listening.sockets[0].getsockname()[1]
        return await plain_http.get("127.0.0.1", port, "/v1/models?x=1")


HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = {
    "content-length": [HEAD, b"content-length: 5\r\n\r\n", b"he", b"llo"],
    "chunked": [HEAD, b"transfer-encoding: chunked\r\n\r\n", b"2\r\nhe\r\n", b"3;x=y\r\nllo\r\n0\r\nend: 1\r\n\r\n"],
    "chunked in capitals": [HEAD, b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    "after 103": [b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", HEAD, b"content-length: 5\r\n\r\nhello"],
}


@pytest.mark.parametrize("stays", [True, False], ids=["kept open", "closed"])
@pytest.mark.parametrize("parts", WHOLE.values(), ids=WHOLE)
async def test_an_answer_ends_where_it_says(parts: list[bytes], stays: bool) -> None:
    assert await get(answering(*parts, stays=stays)) == (200, "hello")


async def test_an_answer_without_length_ends_with_the_connection() -> None:
    assert await get(answering(HEAD, b"\r\nhello", stays=False)) == (200, "hello")
    assert await get(answering(b"HTTP/1.0 503 No\r\n\r\n", stays=False)) == (503, "")


async def test_an_answer_without_a_body_needs_no_length() -> None:
    assert await get(answering(b"HTTP/1.1 204 No Content\r\n\r\n", stays=True)) == (204, "")


BROKEN = {
    "body cut short": [HEAD, b"content-length: 50\r\n\r\nhello"],
    "chunk cut short": [HEAD, b"transfer-encoding: chunked\r\n\r\n5\r\nhel"],
    "no last chunk": [HEAD, b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"],
    "head cut short": [HEAD, b"content-le"],
    "nothing": [],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    "two lengths": [HEAD, b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"],
    "not UTF-8": [HEAD, b"content-length: 1\r\n\r\n\xff"],
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
async def test_what_is_not_whole_is_an_error(parts: list[bytes]) -> None:
    with pytest.raises((ValueError, OSError)):
        await get(answering(*parts, stays=False))


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_http, "_LIMIT", 1000)
    with pytest.raises(ValueError, match="longer than"):
        await get(answering(HEAD, b"content-length: 1001\r\n\r\n", b"x" * 1001, stays=True))
    with pytest.raises(ValueError):
        await get(answering(HEAD, *[b"x-filler: " + b"y" * 1000 + b"\r\n"] * 200, stays=True))


async def test_nobody_there_is_an_os_error() -> None:
    async with await asyncio.start_server(answering(stays=False), "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
    with pytest.raises(OSError):
        await plain_http.get("127.0.0.1", port, "/")
