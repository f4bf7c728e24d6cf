"""A wire reads a watch line by line, however the bytes come and whatever stands in the objects."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from reconciler.kubernetes.answers import NoAnswer, event_of
from reconciler.kubernetes.wire import HttpWire, Request

TEXT = "one\x85two\u2028three"
EVENT = {
    "type": "ADDED",
    "object": {"metadata": {"name": "a", "resourceVersion": "1", "annotations": {"prompt": TEXT}}},
}
LINE = json.dumps(EVENT, ensure_ascii=False).encode()


def wire(*chunks: bytes) -> HttpWire:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=body()))
    return HttpWire(httpx2.AsyncClient(transport=transport, base_url="https://cluster"))


async def read(*chunks: bytes) -> list[bytes]:
    async with wire(*chunks).lines(Request("GET", "/api/v1/pods"), 1.0) as lines:
        return [line async for line in lines]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_an_event_is_a_line_whatever_unicode_calls_the_end_of_one(size: int) -> None:
    """A prompt's text rides along in an annotation, and may hold what other readers split lines at."""
    sent = LINE + b"\n\n" + LINE + b"\n"
    got = await read(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert got == [LINE, LINE]
    _, body = event_of(got[0])
    assert body["metadata"]["annotations"]["prompt"] == TEXT


async def test_a_line_that_was_cut_is_no_event() -> None:
    got = await read(LINE + b"\n" + LINE[:40])
    assert got == [LINE, LINE[:40]]
    with pytest.raises(NoAnswer, match="no event"):
        event_of(got[1])
