"""Where a process reads a region's counts: in its Prometheus if that answers from here, else through the API server.

Decided once, at the first reading. The two tell the same counters of two moments, and one that went back would look as
if it had begun again.
"""

from __future__ import annotations

import asyncio

from environments.errors import SluiceError
from reconciler.platforms.kubernetes.traffic import Stats, Told
from reconciler.ports import Collected

_OUT_OF_REACH = "METRIC-001"
_NOTHING = "vector(1)"


class Reach:
    """Whether a Prometheus answered when it was asked first. An address inside a cluster does not, from outside."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected
        self._lock = asyncio.Lock()
        self._reached: bool | None = None

    async def reached(self) -> bool:
        """Return whether it answered; it is asked by the first caller alone.

        Raises:
            SluiceError: `METRIC-002` what answers there is no Prometheus.
        """
        async with self._lock:
            if self._reached is None:
                self._reached = await self._asked()
            return self._reached

    async def _asked(self) -> bool:
        try:
            await self._collected.now(_NOTHING)
        except SluiceError as error:
            if error.code != _OUT_OF_REACH:
                raise
            return False
        return True


class ReachableStats:
    """`Stats` out of the region's Prometheus where that can be reached, else of the proxies themselves."""

    def __init__(self, reach: Reach, collected: Stats, proxies: Stats) -> None:
        self._reach, self._collected, self._proxies = reach, collected, proxies

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return the counters of an endpoint's route.

        Raises:
            SluiceError: as `CollectedStats.read` or `ProxyStats.read`; `METRIC-002`.
        """
        chosen = self._collected if await self._reach.reached() else self._proxies
        return await chosen.read(namespace, endpoint)
