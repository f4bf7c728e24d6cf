"""Reads what a vLLM server says of its KV cache in `vllm:cache_config_info`: the figures that it logs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.ports import KvCache
from reconciler.runtimes.exposition import parse_exposition

_INFO = "vllm:cache_config_info"


def cache_of(text: str) -> KvCache | None:
    """Return the cache of a server, of its smallest engine where it has several; None where it tells none.

    `kv_cache_size_tokens` and `kv_cache_max_concurrency` are what vLLM 0.32 logs as "KV cache size" and "Maximum
    concurrency". Blocks × block size, which is all that older versions tell, is too little of hybrid models: not used.
    """
    try:
        samples = parse_exposition(text)
    except ValueError:
        return None
    told = [cache for sample in samples if sample.name == _INFO and (cache := _cache(sample.labels))]
    return min(told, key=lambda cache: cache.tokens, default=None)


def _cache(labels: Mapping[str, str]) -> KvCache | None:
    try:
        found = KvCache(int(labels["kv_cache_size_tokens"]), float(labels["kv_cache_max_concurrency"]))
    except (KeyError, ValueError):
        return None
    return found if found.tokens > 0 and found.concurrency > 0 else None
