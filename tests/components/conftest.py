"""Components run on the main thread's event loop, which asyncio tests before them may have taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def main_loop() -> Iterator[None]:
    """Give the main thread a loop for as long as components are tested, and take it away again."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
