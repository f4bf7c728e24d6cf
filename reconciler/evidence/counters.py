"""Read and subtract the counters of an endpoint's slots: requests at the gateway, latencies and tokens at the servers.

The analyst makes ticks of them; a gate watches live traffic with them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.core.model.counts import HISTOGRAMS, Counts, counts_of_both
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ServerState
from reconciler.core.model.tokens import Tokens, tokens_between
from reconciler.ports import CollectsCounts, CountsTraffic, Runtime, SlotCounts
from reconciler.ports.adapters import Region

METRICS_TIMEOUT_S = 2.0  # a server too sick to tell its latencies must not delay what the gateway counted


class SummedServers:
    """The counters of slots with several servers: what each has counted since it was first read, summed by slot.

    Servers come, go, restart and fail to answer; the sum only grows. One that is not read now is caught up with later.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], SlotCounts] = {}
        self._total: dict[str, Counts] = {}

    def take(self, slot: str, readings: Mapping[str, SlotCounts]) -> SlotCounts:
        """Return a slot's sum after readings of its servers, keyed by their names; at least one."""
        nothing = Counts(tokens=Tokens() if all(counts.tokens for counts in readings.values()) else None)
        total = self._total.get(slot, nothing)
        for name, counts in readings.items():
            before, self._last[slot, name] = self._last.get((slot, name)), counts
            if before is not None and before.epoch == counts.epoch:
                total = counts_of_both(total, difference(before, counts))
        self._total[slot] = total
        measured = {name: getattr(total, name) for name in (*HISTOGRAMS, "tokens")}
        return SlotCounts(
            total.requests,
            total.errors,
            total.rejected,
            **measured,
            running=sum(counts.running for counts in readings.values()),
            waiting=sum(counts.waiting for counts in readings.values()),
            kv_cache_usage=max(counts.kv_cache_usage for counts in readings.values()),
            epoch="summed",
            server_epoch="summed",
            **_oldest(*readings.values()),
        )


async def read_counters(
    region: Region, runtime: str, seen: ObservedEndpoint, servers: SummedServers | None = None
) -> dict[str, SlotCounts]:
    """Return the counters of every running slot: requests and outcomes at the gateway, the rest from the runtime.

    A server that cannot be read in time gives no histograms and no tokens; its outcomes are still the gateway's.
    `servers` sums those of a slot that has several from one call to the next.
    """
    summed, counted = servers or SummedServers(), dict[str, SlotCounts]()
    slots = {name: _urls(slot) for name, slot in seen.slots.items()}
    for name, found in (await _served(region, runtime, seen, slots)).items():
        if found:
            counted[name] = next(iter(found.values())) if len(slots[name]) == 1 else summed.take(name, found)
    if not isinstance(region.reader, CountsTraffic):
        return counted
    traffic = await region.reader.traffic(seen.address)
    return {name: joined(traffic[name], counted.get(name)) for name in sorted(traffic)}


def _urls(slot: ObservedSlot) -> dict[str, str]:
    """Return where the servers of a slot that answer tell their counters, by name."""
    ready = {r.name: r.url for r in slot.replicas if r.state is ServerState.READY and r.url}
    return ready or ({"": slot.url} if slot.url and slot.ready else {})


async def _served(
    region: Region, runtime: str, seen: ObservedEndpoint, slots: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, SlotCounts]]:
    """Return by slot and server what servers count: from whoever collects it, else each is asked."""
    kind, names = region.runtimes[runtime], [name for urls in slots.values() for name in urls]
    if isinstance(region.reader, CollectsCounts):
        collected = await region.reader.collected(seen.address, names, kind)
        if collected is not None:
            told = {name: replace(counts, server_epoch=counts.epoch) for name, counts in collected.items()}
            return {slot: {name: told[name] for name in urls if name in told} for slot, urls in slots.items()}
    answers = await asyncio.gather(*(_read(kind, urls) for urls in slots.values()))
    return dict(zip(slots, answers, strict=True))


async def _read(runtime: Runtime, urls: Mapping[str, str]) -> dict[str, SlotCounts]:
    """Return the counters of the servers that tell them in time."""
    reading = (asyncio.wait_for(runtime.counts(url), METRICS_TIMEOUT_S) for url in urls.values())
    answers = await asyncio.gather(*reading, return_exceptions=True)
    return {
        name: replace(answer, server_epoch=answer.epoch)
        for name, answer in zip(urls, answers, strict=True)
        if isinstance(answer, SlotCounts)
    }


def difference(before: SlotCounts | None, after: SlotCounts) -> Counts:
    """Return what was counted between two readings: outcomes and latencies each nothing when they started again.

    A request that is both, such as a rejection that broke midway, is an error. An error that was read before its
    request is a request, so that no error is ever lost.
    """
    if before is None:
        return Counts()
    return replace(_outcomes(before, after), **_measured(before, after))


def carried(before: SlotCounts | None, after: SlotCounts) -> SlotCounts:
    """Return what the next difference starts from: `after`, and the server's part of `before` if it was not read."""
    if before is None or after.server_epoch or not before.server_epoch:
        return after
    server = {name: getattr(before, name) for name in (*HISTOGRAMS, "tokens", "server_epoch")}
    if after.rejected is None:
        server |= {"rejected": before.rejected, "rejected_epoch": before.rejected_epoch}
    return replace(after, **server)


def _outcomes(before: SlotCounts, after: SlotCounts) -> Counts:
    if before.epoch != after.epoch:
        return Counts()
    errors = max(0, after.errors - before.errors)
    requests = max(after.requests - before.requests, errors)
    return Counts(requests, errors, min(_rejections(before, after), requests - errors))


def _rejections(before: SlotCounts, after: SlotCounts) -> int:
    """Return what was rejected between two readings, as far as both told it and no counter began again."""
    untold = before.rejected is None or after.rejected is None or before.rejected_epoch != after.rejected_epoch
    return 0 if untold else max(0, (after.rejected or 0) - (before.rejected or 0))


def _measured(before: SlotCounts, after: SlotCounts) -> dict[str, Any]:
    if before.server_epoch != after.server_epoch:
        return {}
    histograms = {name: _between(getattr(before, name), getattr(after, name)) for name in HISTOGRAMS}
    return {**histograms, "tokens": tokens_between(before.tokens, after.tokens)}


def _between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the difference of two cumulative histograms; nothing when it is none, as when a replica restarted."""
    moved = {le: count - before.get(le, 0.0) for le, count in after.items()}
    ordered = [moved[le] for le in sorted(moved, key=float)]
    falls = any(low > high for low, high in itertools.pairwise([0.0, *ordered]))
    return {} if falls or "+Inf" not in moved else moved


def joined(gateway: SlotCounts, server: SlotCounts | None) -> SlotCounts:
    """Return a slot's counts: outcomes by its gateway, rejections by who tells them, the rest by its servers."""
    if server is None:
        return gateway
    outcomes = {name: getattr(gateway, name) for name in ("requests", "errors", "epoch", "begun", "in_flight")}
    if gateway.rejected is None:
        outcomes["rejected_epoch"] = server.server_epoch
    else:
        outcomes["rejected"] = gateway.rejected
    return replace(server, **outcomes, **_oldest(gateway, server))


def _oldest(*readings: SlotCounts) -> dict[str, Any]:
    """Return the age of counts that are put together: the oldest part's, with where to look for that one."""
    oldest = max(readings, key=lambda counts: counts.age_s)
    return {"age_s": oldest.age_s, "look_at": oldest.look_at}
