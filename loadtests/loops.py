"""Runs a coroutine on the fastest event loop there is: uvloop where it is installed, asyncio's own elsewhere.

Imports only the standard library, uvloop when called. Called by the command line of the engine and by the bench.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's way to make a loop, None where uvloop is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new event loop and return what it returns."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
