"""Asking over HTTP for a metric: what all sources share. Imports httpx on the first question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from environments.errors import SluiceError
from environments.redact import redact

TIMEOUT_S = 10.0


async def ask(url: str, query: Mapping[str, str] | None, *, where: str) -> Any:
    """Return the JSON answer of a GET, None for an answer without content (HTTP 204).

    Raises:
        SluiceError: `METRIC-001` out of reach (retryable), `METRIC-002` the answer is an error or no JSON.
    """
    import httpx

    try:
        secure = not url.lower().startswith("http:")  # reading certificates takes 40 ms a client, for nothing over http
        async with httpx.AsyncClient(timeout=TIMEOUT_S, verify=secure) as client:
            answer = await client.get(url, params=query)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _out_of_reach(where, url, str(error) or type(error).__name__) from error
    if answer.status_code >= 500:
        raise _out_of_reach(where, url, f"HTTP {answer.status_code}")
    if answer.status_code == 204:
        return None
    if answer.status_code != 200:
        raise not_understood(where, f"HTTP {answer.status_code}: {answer.text[:200]}")
    try:
        return answer.json()
    except ValueError as error:
        raise not_understood(where, f"no JSON: {answer.text[:100]!r}") from error


def number(value: Any) -> float | None:
    """Return a finite number, None where there is none: NaN and infinities are no data, and never zero."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def not_understood(where: str, why: str) -> SluiceError:
    """Return the error that says that an answer is of no use."""
    return SluiceError(
        "METRIC-002",
        where=redact(where),
        what="the source's answer cannot be used",
        why=redact(why),
        do="try the query by hand, then correct `query:` of this limit in the environment file",
    )


def _out_of_reach(where: str, url: str, why: str) -> SluiceError:
    return SluiceError(
        "METRIC-001",
        where=redact(where),
        what=f"the source at {redact(url)} is out of reach",
        why=redact(why),
        do="start it, or correct its address in the environment file",
        retryable=True,
    )
