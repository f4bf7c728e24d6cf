"""Read and subtract the counters of an endpoint's slots: requests at the gateway, latencies and tokens at the servers.

The analyst makes ticks of them; a gate watches live traffic with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.observed import ObservedEndpoint
from reconciler.core.promises import Counts
from reconciler.core.tokens import tokens_between
from reconciler.ports import CountsTraffic, SlotCounts
from reconciler.region import Region

LATENCIES = ("ttft_s", "itl_s")


async def read_counters(region: Region, runtime: str, seen: ObservedEndpoint) -> dict[str, SlotCounts]:
    """Return the counters of every running slot: requests and outcomes at the gateway, the rest from the runtime.

    A runtime that cannot be read right now gives no histograms and no tokens; its outcomes are still the gateway's.
    """
    running = {name: s for name, s in seen.slots.items() if s.url and s.ready}
    reading = (region.runtimes[runtime].counts(slot.url or "") for slot in running.values())
    answers = await asyncio.gather(*reading, return_exceptions=True)
    counted = {name: answer for name, answer in zip(running, answers, strict=True) if isinstance(answer, SlotCounts)}
    if not isinstance(region.reader, CountsTraffic):
        return counted
    traffic = await region.reader.traffic(seen.address)
    return {name: _joined(traffic[name], counted.get(name)) for name in sorted(traffic)}


def difference(before: SlotCounts | None, after: SlotCounts) -> Counts:
    """Return what was counted between two readings; nothing when counters started again (another epoch).

    A request that is both, such as a rejection that broke midway, is an error.
    """
    if before is None or before.epoch != after.epoch:
        return Counts()
    requests = max(0, after.requests - before.requests)
    errors = min(max(0, after.errors - before.errors), requests)
    return Counts(
        requests=requests,
        errors=errors,
        rejected=min(max(0, after.rejected - before.rejected), requests - errors),
        tokens=tokens_between(before.tokens, after.tokens),
        **{name: _minus(getattr(after, name), getattr(before, name)) for name in LATENCIES},
    )


def _joined(gateway: SlotCounts, server: SlotCounts | None) -> SlotCounts:
    if server is None:
        return gateway
    return replace(
        server,
        requests=gateway.requests,
        errors=gateway.errors,
        rejected=gateway.rejected,
        epoch=f"{gateway.epoch}/{server.epoch}",
    )


def _minus(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    moved = {le: count - before.get(le, 0.0) for le, count in after.items()}
    return moved if all(v >= 0 for v in moved.values()) else {}
