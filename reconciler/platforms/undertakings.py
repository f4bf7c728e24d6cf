"""Work that takes longer than a verb may: begun once, looked at whenever the verb is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from reconciler.ports import InProgress

PATIENCE_S = 2.0
Tell = Callable[[str], None]


class _Undertaking:
    def __init__(self, what: tuple[object, ...], work: Callable[[Tell], Awaitable[None]]) -> None:
        self.what, self.why = what, "it has begun"
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[Tell], Awaitable[None]]) -> None:
        await work(self._tell)

    def _tell(self, why: str) -> None:
        self.why = why


class Undertakings:
    """What one platform is at, by place. A place has one undertaking: another one ends what went on there before."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._running: dict[str, _Undertaking] = {}

    async def ask(
        self, place: str, what: tuple[object, ...], work: Callable[[Tell], Awaitable[None]]
    ) -> InProgress | None:
        """Begin `work` at a place, or look at it if `what` is at work there already; None when it is done.

        `work` says through its argument what it waits for. What it raises is raised here, once.
        """
        known = self._running.get(place)
        if known is None or known.what != what:
            await self.end(place)
            known = self._running[place] = _Undertaking(what, work)
        await asyncio.wait([known.task], timeout=self._patience_s)
        if not known.task.done():
            return InProgress(known.why)
        if self._running.get(place) is known:
            del self._running[place]
        known.task.result()
        return None

    async def end(self, *places: str) -> None:
        """End what goes on at these places, and return when nothing of it acts any more."""
        ended = [self._running.pop(place).task for place in places if place in self._running]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
