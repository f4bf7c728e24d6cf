"""A runtime in memory whose servers are the slots of fake platforms.

Imports the core, the ports and the fake platform. For scenario tests of the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.errors import SluiceError
from reconciler.core.model.release import Release
from reconciler.ports import OPENAI, Offers, ServerOptions, SlotCounts, read_all
from tests.support.fakes.fleet import FleetPlatform
from tests.support.fakes.platform import FakePlatform


class FakeRuntime:
    """The Runtime port over fake platforms. `warm_error` makes every warm-up fail with RUN-003 and this text."""

    ports = 1
    offers = Offers(protocol=OPENAI, latencies=frozenset({"ttft", "itl"}))

    def __init__(self, *platforms: FakePlatform) -> None:
        self._platforms = {(p.environment, p.region): p for p in platforms}
        self.warm_error: str | None = None
        self.warmed: list[tuple[str, int]] = []

    def check(self, engine: Mapping[str, Any]) -> None:
        """Accept every argument but one called `unknown`."""
        if "unknown" in engine:
            raise SluiceError("RUN-001", what='the runtime has no argument "unknown"')

    def options(self, release: Release, *, paths: Mapping[str, str], host: str, port: int) -> ServerOptions:
        """Return arguments that nobody runs."""
        return ServerOptions((paths["model"], "--host", host, "--port", str(port)))

    async def ready(self, url: str, release: Release, *, model_path: str = "") -> str | None:
        """Say what the platform says of the slot behind `url`."""
        platform, endpoint, slot = self._find(url)
        (seen,) = await read_all(platform, [endpoint])
        if seen.slots[slot].fatal:
            raise SluiceError("RUN-002", where=url, what="it serves another model")
        return seen.slots[slot].problem

    async def warm(self, url: str, release: Release, requests: int) -> None:
        """Record the warm-up."""
        if self.warm_error:
            raise SluiceError("RUN-003", where=url, what=self.warm_error)
        self.warmed.append((url, requests))

    async def counts(self, url: str) -> SlotCounts:
        """Return the server's counters as the platform's ticks left them."""
        platform, endpoint, slot = self._find(url)
        server = url.removeprefix(platform.url(endpoint, slot)).removeprefix("/")
        if isinstance(platform, FleetPlatform):
            return platform.counts(endpoint, slot, server)
        return platform.endpoints[endpoint].servers.get(slot, SlotCounts(0, 0))

    def _find(self, url: str) -> tuple[FakePlatform, str, str]:
        environment, region, endpoint, slot, *_ = url.removeprefix("fake://").split("/")
        return self._platforms[environment, region], endpoint, slot
