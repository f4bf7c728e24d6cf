"""Keeps a replica of one kind's objects up to date: list, watch, and again after whatever goes wrong.

Source: client-go `tools/cache/reflector.go` and the API server's `cacher.go` (bookmarks every minute).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.kubernetes.answers import NoAnswer, NoCredentials, Refusal, event_of
from reconciler.kubernetes.explain import Asked, explain
from reconciler.kubernetes.kinds import Body, Key, Kind
from reconciler.kubernetes.replica import Replica
from reconciler.kubernetes.wire import Request, Wire

_NOT_SUPPORTED = (400, 422)
"""How a server without streamed lists (before 1.32, or with the gate off) answers the request for one."""


@dataclass(frozen=True)
class Pace:
    """How a reflector waits, in seconds, beside `page`, the objects of one page of a list.

    `idle_s` has to be more than the minute between bookmarks. A watch asks to be ended by the server after `watch_s`
    to twice that, drawn, so that many watches do not end at once.
    """

    idle_s: float = 90.0
    watch_s: float = 300.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    page: int = 500


class Reflector:
    """A `View` over one watch. `draw` gives numbers in [0, 1) for jitter; `clock` is monotonic."""

    def __init__(
        self,
        wire: Wire,
        asked: Asked,
        *,
        labels: str,
        pace: Pace,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        draw: Callable[[], float],
    ) -> None:
        if asked.kind is None:
            raise ValueError("a reflector is of one kind")
        self._wire, self._asked, self._labels, self._pace = wire, asked, labels, pace
        self._kind: Kind = asked.kind
        self._clock, self._sleep, self._draw = clock, sleep, draw
        self._replica = Replica()
        self._streams_lists = True
        self._failures = 0
        self._heard_at = -math.inf
        self._listed = False
        self._problem: SluiceError | None = None
        self._bell = asyncio.Event()

    @property
    def items(self) -> Mapping[Key, Body]:
        """Return a snapshot of the objects."""
        return self._replica.items

    @property
    def age_s(self) -> float:
        """Return seconds since the API server was last heard of with a whole list at hand."""
        return self._clock() - self._heard_at if self._listed else math.inf

    @property
    def changes(self) -> int:
        """Return a counter that grows whenever `items` changes."""
        return self._replica.changes

    async def synced(self, within_s: float) -> None:
        """Wait until the first list is complete, or until it is plain that it cannot be."""
        await self._until(lambda: self._listed or self._hopeless, within_s)
        if not self._listed:
            raise self._problem or self._too_old(f"there was no whole list within {within_s:.3g} s")

    async def changed(self, since: int, within_s: float) -> int:
        """Wait until something changed, or the time is over."""
        await self._until(lambda: self.changes != since, within_s)
        return self.changes

    def fresh(self, max_age_s: float) -> Mapping[Key, Body]:
        """Return `items` if they are not older than that."""
        if self.age_s > max_age_s:
            age = "there is no whole list yet" if not self._listed else f"last heard of {self.age_s:.0f} s ago"
            raise self._problem or self._too_old(f"{age}; the limit is {max_age_s:.0f} s")
        return self.items

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            await self._sleep(await self._round())

    async def _round(self) -> float:
        """Make one connection and follow it to its end; return how many seconds to wait before the next."""
        heard_before = self._heard_at
        try:
            await self._follow()
        except Refusal as refusal:
            return self._refused(refusal)
        except (NoAnswer, NoCredentials) as problem:
            if self._heard_at != heard_before:  # a stream that was cut is no reason to wait long
                self._failures = 0
            return self._failed(problem)
        return self._pause() if self._heard_at == heard_before else self._jitter()

    async def _follow(self) -> None:
        if not self._replica.version and not self._streams_lists:
            await self._list()
        listing = not self._replica.version
        if listing:
            self._replica.begin()
        async with self._wire.lines(self._watch(listing=listing), self._pace.idle_s) as lines:
            async for line in lines:
                self._replica.take(*event_of(line))
                self._heard()

    async def _list(self) -> None:
        """Read the list by pages, all of them at the resourceVersion of the first."""
        gathered: list[Body] = []
        params = self._selected({"limit": str(self._pace.page)})
        version = ""
        while True:
            answer = (await self._wire.send(Request("GET", self._path, params))).body()
            metadata = answer.get("metadata") or {}
            version = version or str(metadata.get("resourceVersion", ""))
            typed = {"apiVersion": self._kind.api_version, "kind": self._kind.name}
            gathered += [{**typed, **item} for item in answer.get("items") or []]
            if not metadata.get("continue"):
                break
            params = params | {"continue": str(metadata["continue"])}
        try:
            self._replica.replace(gathered, version)
        except (KeyError, TypeError) as error:
            raise NoAnswer(f"the list holds what is no object: {error!r}") from error
        self._heard()

    def _refused(self, refusal: Refusal) -> float:
        if refusal.version_is_gone:
            self._replica.begin()
            self._failures += 1
            return self._jitter() if self._failures == 1 else self._pause()
        if self._streams_lists and not self._replica.version and refusal.code in _NOT_SUPPORTED:
            self._streams_lists = False
            return 0.0
        pause = self._failed(refusal)
        return pause if refusal.retry_after_s is None else max(refusal.retry_after_s, self._pace.first_pause_s)

    def _failed(self, problem: Refusal | NoAnswer | NoCredentials) -> float:
        self._problem = explain(problem, self._asked)
        self._ring()
        return self._pause()

    def _heard(self) -> None:
        if not self._replica.version:
            return  # a list that is not whole makes what readers see no younger
        self._heard_at, self._failures = self._clock(), 0
        self._listed, self._problem = True, None
        self._ring()

    def _pause(self) -> float:
        """Return a pause that doubles with each failure in a row, half of it drawn."""
        pause = min(self._pace.first_pause_s * 2.0 ** min(self._failures, 20), self._pace.longest_pause_s)
        self._failures += 1
        return pause * (0.5 + 0.5 * self._draw())

    def _jitter(self) -> float:
        return self._pace.first_pause_s * self._draw()

    @property
    def _hopeless(self) -> bool:
        return self._problem is not None and not self._problem.retryable

    @property
    def _path(self) -> str:
        return self._kind.path(self._asked.namespace)

    def _selected(self, params: Mapping[str, str]) -> dict[str, str]:
        return {**params, "labelSelector": self._labels}

    def _watch(self, *, listing: bool) -> Request:
        timeout = self._pace.watch_s * (1.0 + self._draw())
        params = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(math.ceil(timeout))}
        if listing:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        return Request("GET", self._path, self._selected(params | {"resourceVersion": self._replica.version}))

    def _ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()

    async def _until(self, holds: Callable[[], bool], within_s: float) -> None:
        """Wait until something holds, or the time is over."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    await self._bell.wait()
        except TimeoutError:
            return

    def _too_old(self, why: str) -> SluiceError:
        return SluiceError(
            "KUBE-013",
            where=self._asked.where,
            what="what is known of these objects is too old to decide by",
            why=why,
            do="check that the API server answers; then run the same command again",
            retryable=True,
        )
