"""A door on loopback to a cluster's pods and Services, through the API server's own proxy and with its credentials.

Warm-up, gates and counters speak plain HTTP to an address. From outside a cluster there is none, but the API server
passes requests on. Whoever knows the door's secret path may use it; it leads to the port of slots, or with `NAME+2` to
one of the two above it, where Triton tells its metrics, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from environments.names import SLOT_PORT
from reconciler.platforms.kubernetes.observed import Body, Doors

if TYPE_CHECKING:
    import httpx2

_HEAD_MAX, _BODY_MAX = 64 * 1024, 32 * 1024 * 1024
_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PLACE = rf"(?P<namespace>{_NAME})/(?P<kind>pods|services)/(?P<name>{_NAME})(\+(?P<above>[12]))?"
_PATH = re.compile(rf"/(?P<secret>[\w-]+)/{_PLACE}(?P<rest>/.*)?", re.ASCII)
_HOP = ("connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade", "authorization")
_CONNECT_S = 10.0


class Doorway:
    """A server on loopback. `client` has the cluster's address and credentials."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client, self._secret = client, secrets.token_urlsafe(18)
        self._server: asyncio.Server | None = None

    async def open(self) -> Doors:
        """Begin to listen; return where pods and slots are reached from now on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_MAX)
        base = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/{self._secret}"

        def pod(namespace: str, body: Body) -> str | None:
            return f"{base}/{namespace}/pods/{body['metadata']['name']}"

        return Doors(pod, lambda namespace, name: f"{base}/{namespace}/services/{name}", self.close)

    async def close(self) -> None:
        """Stop listening, and close the connections to the API server."""
        if self._server is not None:
            self._server.close()
        await self._client.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close, which is how its end is known."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._pass_on(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import httpx2

        method, target, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        path, _, query = target.partition("?")
        place = _PATH.fullmatch(path)
        length = headers.get("content-length", "0")
        if place is None or _climbs(path) or not secrets.compare_digest(place["secret"], self._secret):
            await _say(writer, 404, "there is no such door")
            return
        if "transfer-encoding" in headers or not length.isdigit() or int(length) > _BODY_MAX:
            await _say(writer, 411, "say how long the body is, up to 32 MiB")
            return
        body = await reader.readexactly(int(length))
        port = SLOT_PORT + int(place["above"] or 0)
        there = f"/api/v1/namespaces/{place['namespace']}/{place['kind']}/{place['name']}:{port}/proxy"
        asked = self._client.build_request(
            method,
            f"{there}{place['rest'] or '/'}{'?' + query if query else ''}",
            headers={name: value for name, value in headers.items() if name not in _HOP},
            content=body or None,
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),  # whoever asks has limits of its own
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx2.HTTPError as error:
            await _say(writer, 502, f"the API server does not answer: {type(error).__name__}: {error}")
            return
        left = asyncio.create_task(reader.read(1))  # nothing more is sent, so this ends when the client leaves
        copied = asyncio.create_task(_copy(answer, writer))
        try:
            await asyncio.wait([left, copied], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (left, copied):
                if not task.done():
                    task.cancel()
            await asyncio.gather(left, copied, return_exceptions=True)
            await answer.aclose()


async def _copy(answer: httpx2.Response, writer: asyncio.StreamWriter) -> None:
    """Write an answer as it comes; every piece at once, for streams are timed.

    An answer of unknown length goes in chunks, so that one that breaks off is not taken for a whole one.
    """
    kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
    length = answer.headers.get("content-length")
    framed = ("content-length", length) if length else ("transfer-encoding", "chunked")
    lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}", *(f"{n}: {v}" for n, v in (*kept, framed))]
    writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))
    await writer.drain()
    async for piece in answer.aiter_raw():
        writer.write(piece if length else b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    if not length:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _say(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} -\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


def _climbs(path: str) -> bool:
    """Return whether a path leads out of itself: clients resolve that, and it would be another object's."""
    return ".." in unquote(path).split("/")


def _head(raw: bytes) -> tuple[str, str, Mapping[str, str]]:
    """Return method, target and headers of a request, names in lower case."""
    first, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = (*first.split(" "), "", "")[:3]
    pairs = (line.partition(":") for line in rest)
    return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}
