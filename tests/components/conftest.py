"""Components run on the main thread's event loop, which asyncio tests before them may have taken away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.components.mocked import own_loop


@pytest.fixture(scope="package", autouse=True)
def main_loop() -> Iterator[None]:
    """Give the main thread a loop for as long as components are tested, and take it away again."""
    with own_loop():
        yield
