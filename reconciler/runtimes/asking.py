"""How a runtime asks one server over HTTP, whatever it serves: a page, a client, and warm-up a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from environments.errors import SluiceError
from reconciler import plain_http

if TYPE_CHECKING:
    import httpx

ASK_TIMEOUT_S = 5.0
WARM_TIMEOUT_S = 120.0
_WARM_AT_ONCE = 4


async def get(url: str, path: str) -> tuple[int, str]:
    """Return status and body; a plan asks every slot, and httpx takes longer to import than to be used."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return await plain_http.get(parts.hostname or "", parts.port or 80, f"{parts.path.rstrip('/')}{path}")
    async with client_of(url, ASK_TIMEOUT_S) as client:
        answer = await client.get(path)
        return answer.status_code, answer.text


def client_of(url: str, timeout_s: float) -> httpx.AsyncClient:
    """Return a client for one server; no proxy of the environment stands between, certificates only where needed."""
    import httpx

    return httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False, verify=url.startswith("https:"))


async def warmed(requests: int, one: Callable[[int], Awaitable[None]]) -> None:
    """Send requests by their number, a few at once; the first goes alone: what it loads is then there for the others.

    Raises:
        SluiceError: the first that failed.
    """
    places = asyncio.Semaphore(_WARM_AT_ONCE)

    async def placed(number: int) -> None:
        async with places:
            await one(number)

    if requests > 0:
        await placed(0)
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(1, requests):
                group.create_task(placed(number))
    except* SluiceError as failed:
        raise failed.exceptions[0] from None


def unreadable(url: str, error: Exception) -> SluiceError:
    """Return that a server's counters cannot be read."""
    return SluiceError(
        "RUN-005",
        where=url,
        what="the server's metrics cannot be read",
        why=f"{type(error).__name__}: {error}",
        do="look at the slot's log: the server may have died",
        retryable=True,
    )
