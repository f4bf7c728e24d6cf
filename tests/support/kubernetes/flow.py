"""Requests that nobody sends: what a gateway's proxy and the servers would have counted, by the weights in force.

Pods of fake machines have no network. What is real here is where the counts are read: weights from the route, servers
from the pods, and the sums of `reconciler.platforms.kubernetes.traffic`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from reconciler.core.model.observed import ServerState
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes.traffic import Counted, Place, Told
from reconciler.ports import SlotCounts, read_all
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.kubernetes.world import KubernetesWorld

BOUNDS = ("0.02", "0.04", "0.06", "0.08", "0.1", "0.25", "0.5", "+Inf")
LATENCY_S = 0.05
_TICK_S = 0.1


@dataclass
class Flow:
    """Traffic to the endpoint `chat`. `bad` maps a model's reference to the share of its answers that are errors."""

    requests_a_second: float = 4000.0
    bad: dict[str, float] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
    weights_seen: list[Mapping[str, float]] = field(default_factory=list)
    warmed: list[str] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def through(self, world: KubernetesWorld) -> AsyncIterator[None]:
        """Let requests flow while the block runs."""

        async def flow() -> None:
            while True:
                await asyncio.sleep(_TICK_S)
                await self._tick(world)

        flowing = asyncio.create_task(flow())
        try:
            yield
        finally:
            flowing.cancel()
            await asyncio.gather(flowing, return_exceptions=True)

    async def _tick(self, world: KubernetesWorld) -> None:
        (endpoint,) = await read_all(world.platform, ["chat"])
        if endpoint.weights not in self.weights_seen[-1:]:
            self.weights_seen.append(endpoint.weights)
        for slot in endpoint.slots.values():
            ready = [r for r in slot.replicas if r.state is ServerState.READY and r.url]
            for server in ready:
                share = slot.weight_pct / 100 / len(ready)
                requests = round(self.requests_a_second * _TICK_S * share)
                errors = round(requests * self.bad.get(slot.release.model.ref if slot.release else "", 0.0))
                address = urlsplit(server.url or "").hostname or ""
                known = self.counted.get(address, Counted())
                self.counted[address] = replace(known, requests=known.requests + requests, errors=known.errors + errors)


class FlowStats:
    """`Stats` of one proxy through which all of the flow went."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return what the proxy counted for each pod's address."""
        return Told({Place("proxy", address): counted for address, counted in self._flow.counted.items()})


class FlowRuntime(VllmRuntime):
    """vLLM's arguments; warm-up and counters are the flow's, for nobody answers at a fake machine's pod."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def warm(self, url: str, release: Release, requests: int) -> None:
        """Note who was warmed up."""
        self._flow.warmed.append(url)

    async def counts(self, url: str) -> SlotCounts:
        """Return what one server counted: every answer took the same time."""
        counted = self._flow.counted.get(urlsplit(url).hostname or "", Counted())
        served = float(counted.requests - counted.errors)
        spread: dict[str, Any] = {le: served * (float(le) >= LATENCY_S) for le in BOUNDS}
        return SlotCounts(counted.requests, 0, ttft_s=spread, itl_s=spread, epoch=url)
