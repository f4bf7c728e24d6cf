"""Read an endpoint again only when its platform says that it has changed, or after a while."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from reconciler.core.model.observed import ObservedEndpoint
from reconciler.ports import PlatformReader, TellsChanges, read_all

STALE_S = 30.0
"""How old a reading may get of which no change was told: a feed that has gone quiet must not blind anyone."""


@dataclass(frozen=True)
class _Reading:
    seen: ObservedEndpoint
    at: float


class ReadWhenChanged:
    """PlatformReader over another one: of a platform that `TellsChanges` it reads what has changed, else everything."""

    def __init__(self, reader: PlatformReader, clock: Callable[[], float]) -> None:
        self._reader, self._clock = reader, clock
        self._cursor = ""
        self._known: dict[str, _Reading] = {}

    async def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[tuple[ObservedEndpoint, ...]]:
        """Yield the endpoints by name, in one page.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read, or does not say what has changed.
        """
        if endpoints is None or not isinstance(self._reader, TellsChanges):
            yield await read_all(self._reader, endpoints)
            return
        # The cursor is from before the reading: what changes meanwhile is told again.
        changes = await self._reader.changes(self._cursor)
        fresh = self._clock() - STALE_S
        for name in list(self._known):
            if changes.endpoints is None or name in changes.endpoints or self._known[name].at < fresh:
                del self._known[name]
        missing = [name for name in endpoints if name not in self._known]
        for seen in await read_all(self._reader, missing) if missing else ():
            self._known[seen.address.endpoint] = _Reading(seen, self._clock())
        self._cursor = changes.cursor
        yield tuple(self._known[name].seen for name in endpoints if name in self._known)
