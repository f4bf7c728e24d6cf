"""How many tokens fit into a pool of KV cache: vLLM's pages, groups of layers and blocks of a request. Pure.

Source: vLLM 0.32, v1/core/kv_cache_utils.py (`_get_kv_cache_groups_uniform_page_size`,
`get_max_concurrency_for_kv_cache_config`) and platforms/interface.py (`_align_hybrid_block_size`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.core.memory.layers import STATE, LayerKind

BLOCK_TOKENS = 16
_PADDING = 1.5  # vLLM's: up to this ratio the larger number of layers makes the groups


@dataclass(frozen=True)
class Use:
    """What decides over blocks besides the model: the longest request, tokens of a step in flight, prefix caching."""

    max_model_len: int
    in_flight_tokens: int
    prefix_caching: bool = True


@dataclass(frozen=True)
class KvCapacity:
    """What vLLM logs: `tokens` are `concurrency` × the longest request, rounded down. `blocks` are all of the pool."""

    blocks: int
    concurrency: float
    tokens: int


def kv_capacity(pool_bytes: float, kinds: Sequence[LayerKind], use: Use) -> KvCapacity:
    """Return what a pool of one GPU holds; a pool below zero holds nothing."""
    block, page = _page(kinds)
    size = group_size([each.layers for each in kinds])
    blocks = max(0, int(pool_bytes // (page * size)))
    needed = sum(-(-each.layers // size) * _blocks(each, block, page, use) for each in kinds)
    concurrency = blocks / needed
    return KvCapacity(blocks, concurrency, int(concurrency * use.max_model_len))


def longest_request(pool_bytes: float, kinds: Sequence[LayerKind], use: Use) -> int:
    """Return the largest `max_model_len`, at most the one in use, of which one request fits: 0 when none does."""
    low, high = 0, use.max_model_len
    while low < high:
        middle = (low + high + 1) // 2
        fits = kv_capacity(pool_bytes, kinds, Use(middle, use.in_flight_tokens, use.prefix_caching)).concurrency >= 1
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def group_size(counts: Sequence[int]) -> int:
    """Return how many layers share a block table: the least number of one kind, or the largest where that is near."""
    return max(counts) if max(counts) < min(counts) * _PADDING else min(counts)


def _page(kinds: Sequence[LayerKind]) -> tuple[int, int]:
    """Return the tokens of a block and the bytes of its page in one layer, which all layers share."""
    token = max((each.token_bytes for each in kinds), default=0)
    state = max((each.state_bytes for each in kinds), default=0)
    if not token:
        return BLOCK_TOKENS, max(1, state)
    block = max(BLOCK_TOKENS, BLOCK_TOKENS * math.ceil(state / (BLOCK_TOKENS * token)))
    return block, block * token


def _blocks(layer: LayerKind, block: int, page: int, use: Use) -> int:
    """Return the blocks that the longest request takes in one group of such layers."""
    if layer.kind == STATE:
        return 2 if use.prefix_caching else 1
    own = page // layer.token_bytes if page % layer.token_bytes == 0 else block
    if not layer.window:
        return -(-use.max_model_len // own)
    # The window, what is in flight, and one block more, for a window may begin inside one.
    return -(-min(layer.window - 1 + use.in_flight_tokens, use.max_model_len) // own) + 1
