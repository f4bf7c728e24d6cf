"""Reads Envoy's admin port: statistics and configuration in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from reconciler import plain_http

Kind = Literal["Counters", "Gauges", "TextReadouts"]


class AdminError(Exception):
    """Envoy's admin port does not answer, or not as expected."""


async def get(port: int, path: str, *, timeout_s: float = 2.0) -> str:
    """Return the body of a successful answer.

    Raises:
        AdminError: no answer, or a status other than 200.
    """
    try:
        async with asyncio.timeout(timeout_s):
            status, body = await plain_http.get("127.0.0.1", port, path)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise AdminError(f"{path}: {type(error).__name__} {error}".rstrip()) from error
    if status != 200:
        raise AdminError(f"{path}: status {status}")
    return body


async def stats(port: int, kind: Kind, pattern: str) -> Mapping[str, str]:
    """Return the statistics of one kind whose names match a regular expression, as Envoy writes them, without quotes.

    Envoy looks through all of that kind. There may be 100,000 counters, which takes it 60 ms, and few of the others.
    """
    text = await get(port, f"/stats?type={kind}&filter={quote(pattern)}")
    pairs = (line.partition(": ") for line in text.splitlines())
    return {name: value.strip('"') for name, _, value in pairs if name}


async def route_tables(port: int) -> list[Any]:
    """Return the route configurations in force."""
    dump = json.loads(await get(port, "/config_dump?resource=dynamic_route_configs"))
    return [found["route_config"] for found in dump.get("configs", [])]
