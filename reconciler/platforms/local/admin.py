"""Reads Envoy's admin port: a small HTTP client, because a whole one takes longer to import than to be used.

Imports the standard library. Called by `gateway`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_LIMIT = 64 << 20


class AdminError(Exception):
    """Envoy's admin port does not answer, or not as expected."""


async def get(port: int, path: str, *, timeout_s: float = 2.0) -> str:
    """Return the body of a successful answer.

    Raises:
        AdminError: no answer, or a status other than 200.
    """
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await _fetch(port, path)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:  # TimeoutError is an OSError
        raise AdminError(f"{path}: {type(error).__name__} {error}".rstrip()) from error
    if status != 200:
        raise AdminError(f"{path}: status {status}")
    return body.decode()


async def stats(port: int, pattern: str) -> Mapping[str, str]:
    """Return the statistics whose names match a regular expression, as Envoy writes their values, without quotes."""
    text = await get(port, f"/stats?filter={quote(pattern)}")
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value.strip('"') for name, _, value in pairs if name}


async def route_tables(port: int) -> list[Any]:
    """Return the route configurations in force."""
    dump = json.loads(await get(port, "/config_dump?resource=dynamic_route_configs"))
    return [found["route_config"] for found in dump.get("configs", [])]


async def _fetch(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        rest = await reader.read(_LIMIT)
        while more := await reader.read(_LIMIT):
            rest += more
    finally:
        writer.close()
    body = _joined(rest) if "transfer-encoding: chunked" in head else rest
    return int(head.split(" ", 2)[1]), body


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
