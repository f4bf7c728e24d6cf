"""Whether a release fits the GPUs of its pool, with the figures that say so and what would make it fit. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from reconciler.core.memory.budget import (
    UTILIZATION,
    adapter_bytes,
    overhead_bytes,
    shown_bytes,
    steps_of,
    weight_bytes,
)
from reconciler.core.memory.interval import Interval, exactly
from reconciler.core.memory.layers import SLIDING, STATE, LayerKind, Split, Unknown, layer_kinds, split_of
from reconciler.core.memory.pages import Use, kv_capacity, longest_request
from reconciler.core.model.model_facts import ModelFacts

_WAYS = (1, 2, 4, 8)


class Fit(StrEnum):
    """Whether the longest request fits: surely, surely not, or somewhere between."""

    FITS = "fits"
    MAY = "may_fit"
    NOT = "does_not_fit"


@dataclass(frozen=True)
class Gpu:
    """One GPU of a pool as the environment file declares it."""

    name: str
    vram_gib: float


@dataclass(frozen=True)
class Memory:
    """One GPU's memory under a release, in bytes. `tokens` and `concurrency` are what vLLM would log.

    `causes` say why a figure is no single number.
    """

    budget: Interval
    weights: Interval
    overhead: Interval
    kv: Interval
    tokens: Interval
    concurrency: Interval
    max_model_len: int
    longest: Interval
    causes: tuple[str, ...] = ()

    @property
    def fit(self) -> Fit:
        """Return whether one request of the declared length fits: vLLM starts only where it does."""
        if self.concurrency.low >= 1:
            return Fit.FITS
        return Fit.NOT if self.concurrency.high < 1 else Fit.MAY


def estimate(facts: ModelFacts, engine: Mapping[str, Any], gpu: Gpu, *, adapters: int = 0) -> Memory | Unknown:
    """Return what a release needs of each of its GPUs; why not, where its files do not say enough."""
    split = split_of(engine)
    kinds = layer_kinds(facts.config, engine, split)
    if isinstance(kinds, Unknown):
        return kinds
    if not facts.weight_bytes:
        return Unknown("the registry does not say how large the weights are")
    length = _length(facts, engine)
    if length is None:
        return Unknown("neither engine.max_model_len nor config.json says how long a request may be")
    steps = steps_of(engine, gpu.vram_gib, gpu.name)
    used = engine.get("gpu_memory_utilization", UTILIZATION)
    budget = shown_bytes(gpu.name, gpu.vram_gib).scaled(float(used) if isinstance(used, int | float) else UTILIZATION)
    weights = weight_bytes(facts, engine, split) + adapter_bytes(facts, engine, adapters, split)
    overhead = overhead_bytes(facts, engine, split, steps)
    fixed = engine.get("kv_cache_memory_bytes")
    kv = exactly(float(fixed)) if isinstance(fixed, int) else budget - weights - overhead
    tokens, concurrency, longest = _held(kv, kinds, length, steps.batched_tokens, engine)
    return Memory(budget, weights, overhead, kv, tokens, concurrency, length, longest, _causes(kinds, engine))


def ways_out(
    facts: ModelFacts, engine: Mapping[str, Any], gpu: Gpu, found: Memory, adapters: int = 0
) -> tuple[str, ...]:
    """Return what would make a release surely fit, each with its figure, the cheapest first."""
    found_ways = []
    if found.longest.low >= 1:
        found_ways.append(f"engine.max_model_len up to {int(found.longest.low):,}")
    for words, change in _changes(engine):
        other = estimate(facts, {**engine, **change}, gpu, adapters=adapters)
        if isinstance(other, Memory) and other.fit is Fit.FITS:
            found_ways.append(words)
    return tuple(found_ways)


def _changes(engine: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    changes: list[tuple[str, Mapping[str, Any]]] = []
    if "kv_cache_dtype" not in engine:
        changes.append(("engine.kv_cache_dtype fp8", {"kv_cache_dtype": "fp8"}))
    if "quantization" not in engine:
        changes.append(("weights in fp8 (engine.quantization fp8)", {"quantization": "fp8"}))
    more = next((way for way in _WAYS if way > split_of(engine).tensor), None)
    if more:
        words = f"{more} GPUs a replica (engine.tensor_parallel_size {more})"
        changes.append((words, {"tensor_parallel_size": more}))
    return changes


def _held(
    kv: Interval, kinds: tuple[LayerKind, ...], length: int, batched: int, engine: Mapping[str, Any]
) -> tuple[Interval, Interval, Interval]:
    """Return tokens, requests of the full length, and the longest request, at both ends of a pool.

    A sliding layer keeps what is in flight: of one step, or of two where the next is scheduled ahead.
    """
    caching = engine.get("enable_prefix_caching") is not False
    few, many = Use(length, 2 * batched, caching), Use(length, batched, caching)
    low, high = kv_capacity(kv.low, kinds, few), kv_capacity(kv.high, kinds, many)
    longest = Interval(longest_request(kv.low, kinds, few), longest_request(kv.high, kinds, many))
    return Interval(low.tokens, high.tokens), Interval(low.concurrency, high.concurrency), longest


def _causes(kinds: tuple[LayerKind, ...], engine: Mapping[str, Any]) -> tuple[str, ...]:
    causes = [] if "kv_cache_memory_bytes" in engine else ["activations, CUDA graphs and CUDA's context are estimated"]
    if any(each.kind == SLIDING for each in kinds):
        causes.append("sliding layers keep what is in flight, of one step or two")
    if any(each.kind == STATE for each in kinds):
        causes.append("the block is as long as a state's page needs")
    if "quantization" in engine:
        causes.append("which weights are quantized while they load is not known before")
    return tuple(causes)


def _length(facts: ModelFacts, engine: Mapping[str, Any]) -> int | None:
    wanted = engine.get("max_model_len", facts.config.get("max_position_embeddings"))
    return wanted if isinstance(wanted, int) and wanted > 0 else None


__all__ = ["Fit", "Gpu", "Memory", "Split", "Unknown", "estimate", "ways_out"]
