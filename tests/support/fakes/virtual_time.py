"""An event loop whose clock stands still while anything can run, and jumps to the next timer when nothing can.

Whole rollouts of an hour run in a second, with the real `asyncio.sleep` and in the same order each time. Work in
threads (the store's) is waited for in real time, without the clock moving.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

_DEADLOCK_S = 10.0


class _Jumping(selectors.DefaultSelector):
    """A selector that lets virtual time pass instead of waiting."""

    owner: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.owner.in_threads:
            return super().select(0.5)
        if timeout is None:  # only another thread can wake it, such as the executor's when it is shut down
            ready = super().select(_DEADLOCK_S)
            assert ready, "everything waits for something that never comes"
            return ready
        self.owner.pass_time(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; `time()` begins at 0."""

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        selector.owner = self
        self._now = 0.0
        self.in_threads = 0

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let the clock jump."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run in a thread; time stands still until it is done."""
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._returned)
        return future

    def _returned(self, _: object) -> None:
        self.in_threads -= 1


class VirtualTimePolicy(asyncio.DefaultEventLoopPolicy):
    """Makes such loops, for pytest-asyncio's `event_loop_policy` fixture."""

    def new_event_loop(self) -> VirtualTimeLoop:
        """Return a new loop at time 0."""
        return VirtualTimeLoop()
