"""After a warm-up: what the challenger's servers say of their KV cache, for the ledger. A plan reads it from there."""

from __future__ import annotations

import asyncio

from environments.errors import SluiceError
from reconciler.core.events import CacheLogged
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.ports import KvCache, TellsCache
from reconciler.ports.adapters import Region


async def cache_logged(rollout: Rollout, region: Region, seen: ObservedEndpoint | None) -> CacheLogged | None:
    """Return the smallest cache of a challenger's servers; None where no GPU, no server or no runtime tells one.

    It is a figure for the next plan: a server that does not answer is no reason to stop this rollout.
    """
    part, runtime = rollout.region(region.name), region.runtimes.get(rollout.settings.runtime)
    gpu = gpu_of(rollout, part)
    if gpu is None or seen is None or not isinstance(runtime, TellsCache):
        return None
    slot = seen.slots[part.slot]
    urls = [each.url for each in slot.replicas if each.url] or [slot.url or ""]
    answers = await asyncio.gather(*(_asked(runtime, url) for url in urls))
    least = min((each for each in answers if each), key=lambda each: each.tokens, default=None)
    if least is None:
        return None
    address = rollout.address(region.name)
    return CacheLogged(rollout, address, rollout.challenger.id, gpu, least.tokens, least.concurrency)


def gpu_of(rollout: Rollout, part: RegionRollout) -> str | None:
    """Return the kind of GPU of a rollout's pool, as the file declared it when the rollout began."""
    pools = (part.spec or {}).get("gpu_pools", {})
    pool = pools.get(rollout.settings.pool or "")
    return str(pool["gpu"]) if pool else None


async def _asked(runtime: TellsCache, url: str) -> KvCache | None:
    try:
        return await runtime.kv_cache(url) if url else None
    except SluiceError:
        return None
