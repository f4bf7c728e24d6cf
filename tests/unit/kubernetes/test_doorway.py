"""The door to a cluster's pods passes requests on as they are, streams as they come, and leads nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import httpx2
import pytest

from reconciler.platforms.kubernetes.doorway import Doorway
from reconciler.platforms.kubernetes.observed import Doors
from reconciler.runtimes.triton.runtime import metrics_url
from tests.unit.kubernetes.made import pod


@dataclass
class ApiServer:
    """A stub of the API server's proxy: notes what it is asked, and streams two pieces, the second when told."""

    asked: list[bytes] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    breaks: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        self.asked.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 201 Made\r\nx-theirs: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        going, gone = asyncio.create_task(self.go_on.wait()), asyncio.create_task(reader.read(1))
        await asyncio.wait([going, gone], return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
        writer.write(b"6\r\nsecond\r\n" + (b"" if self.breaks else b"0\r\n\r\n"))
        going.cancel()
        gone.cancel()
        writer.close()


@pytest.fixture
async def api() -> ApiServer:
    """Return the stub."""
    return ApiServer()


@pytest.fixture
async def doors(api: ApiServer) -> AsyncIterator[Doors]:
    """Return a door to the stub."""
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    door = Doorway(httpx2.AsyncClient(base_url=base, headers={"Authorization": "Bearer theirs"}))
    yield await door.open()
    await door.close()
    server.close()


async def test_a_request_reaches_the_pod_with_the_clusters_credentials(api: ApiServer, doors: Doors) -> None:
    api.go_on.set()
    url = doors.pod("support-prod", pod("chat-a-1"))
    assert url
    headers = {"Authorization": "Bearer ours", "x-own": "2"}
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/v1/completions?x=1", content=b"a body", headers=headers)
    assert (answer.status_code, answer.text, answer.headers["x-theirs"]) == (201, "firstsecond", "1")
    (asked,) = api.asked
    there = b"POST /api/v1/namespaces/support-prod/pods/chat-a-1:8000/proxy/v1/completions?x=1 HTTP/1.1"
    assert asked.startswith(there)
    assert b"Bearer theirs" in asked
    assert b"ours" not in asked
    assert b"x-own: 2" in asked
    assert asked.endswith(b"\r\n\r\na body")


async def test_a_slot_is_reached_by_its_service(api: ApiServer, doors: Doors) -> None:
    api.go_on.set()
    async with httpx.AsyncClient(base_url=doors.slot("support-prod", "chat-a") or "") as client:
        assert (await client.get("/health")).status_code == 201
    assert api.asked[0].startswith(b"GET /api/v1/namespaces/support-prod/services/chat-a:8000/proxy/health ")


async def test_tritons_metrics_are_two_ports_above_and_no_other_port_is_reached(api: ApiServer, doors: Doors) -> None:
    api.go_on.set()
    url = doors.pod("support-prod", pod("chat-a-1")) or ""
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{metrics_url(url)}/metrics")).status_code == 201
        assert (await client.get(f"{url}+3/metrics")).status_code == 404
    (asked,) = api.asked
    assert asked.startswith(b"GET /api/v1/namespaces/support-prod/pods/chat-a-1:8002/proxy/metrics ")


async def test_a_stream_comes_piece_by_piece(api: ApiServer, doors: Doors) -> None:
    async with (
        httpx.AsyncClient(base_url=doors.slot("n", "chat-a") or "") as client,
        client.stream("GET", "/") as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"first"
        api.go_on.set()
        assert await anext(pieces) == b"second"


async def test_a_stream_that_breaks_off_is_not_taken_for_a_whole_one(api: ApiServer, doors: Doors) -> None:
    api.breaks = True
    api.go_on.set()
    async with httpx.AsyncClient(base_url=doors.slot("n", "chat-a") or "") as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


async def test_a_client_that_leaves_is_seen_by_the_server(api: ApiServer, doors: Doors) -> None:
    async with (
        httpx.AsyncClient(base_url=doors.slot("n", "chat-a") or "") as client,
        client.stream("GET", "/") as answer,
    ):
        assert await anext(answer.aiter_raw()) == b"first"
    async with asyncio.timeout(10):
        await api.left.wait()


@pytest.mark.parametrize("path", ["", "/../../secrets/x", "/%2e%2e/secrets", "?x"])
async def test_without_the_secret_nothing_is_passed_on(api: ApiServer, doors: Doors, path: str) -> None:
    url = httpx.URL(doors.slot("n", "chat-a") or "")
    secret = url.path.split("/")[1]
    async with httpx.AsyncClient() as client:
        wrong = await client.get(str(url).replace(secret, "guess") + path)
    assert wrong.status_code == 404
    assert api.asked == []


async def test_what_leads_to_other_objects_is_refused(api: ApiServer, doors: Doors) -> None:
    url = httpx.URL(doors.slot("n", "chat-a") or "")
    secret = url.path.split("/")[1]
    for path in (
        f"/{secret}/n/secrets/x",
        f"/{secret}/n/pods/x:22/y",
        f"/{secret}",
        f"{url.path}/../../../secrets/x",
        f"{url.path}/%2e%2e/x",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 404")
        writer.close()
    assert api.asked == []


async def test_an_api_server_that_is_away_is_said() -> None:
    door = Doorway(httpx2.AsyncClient(base_url="http://127.0.0.1:9"))
    doors = await door.open()
    async with httpx.AsyncClient(base_url=doors.slot("n", "chat-a") or "") as client:
        answer = await client.get("/")
    assert (answer.status_code, "does not answer" in answer.text) == (502, True)
    with contextlib.suppress(RuntimeError):
        await door.close()
