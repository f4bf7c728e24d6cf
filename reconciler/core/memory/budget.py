"""What an engine may use of a GPU, and what of that goes to weights, activations and graphs: intervals. Pure.

The sizes of activations were fitted to published logs of vLLM: 2.07 GiB of an 8B Llama with 20,000 tokens in a step,
0.92 GiB more with 29,000 (vllm #10517); 1.26 GiB of Qwen3-32B, with 0.22 GiB outside of PyTorch and 0.18 GiB of graphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.core.memory.interval import GIB, Interval, exactly
from reconciler.core.memory.layers import Split, model_type_bytes
from reconciler.core.model.model_facts import ModelFacts

UTILIZATION = 0.92  # vLLM 0.32's default of gpu_memory_utilization
# GiB that CUDA shows of a GPU's nominal size, as messages of public logs say it ("has a total capacity of …").
_SHOWN = {
    "L4": (22.03, 22.5),
    "A10G": (22.03, 22.5),
    "L40S": (44.34, 44.68),
    "A100-80": (79.14, 79.33),
    "H100": (79.1, 79.33),
    "RTX 3090": (23.57, 23.68),
}
_SHARE = Interval(0.915, 0.995)  # of any other GPU: what those above have at the least and at the most
_FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_ONLINE_FP8 = ("fp8", "fp8_per_tensor", "fp8_per_block", "fbgemm_fp8")


@dataclass(frozen=True)
class Steps:
    """How much an engine computes at once: tokens of one step, and requests whose next token is drawn."""

    batched_tokens: int
    sequences: int


def shown_bytes(gpu: str, vram_gib: float) -> Interval:
    """Return the memory that CUDA shows of a GPU; `vram_gib` is what the environment file says of it."""
    known = _SHOWN.get(gpu) or _SHOWN.get(f"{gpu}-{vram_gib:g}")
    alike = known is not None and 0.9 * vram_gib <= known[0] and known[1] <= vram_gib
    return (Interval(*known) if known and alike else _SHARE.scaled(vram_gib)).scaled(GIB)


def steps_of(engine: Mapping[str, Any], vram_gib: float, gpu: str) -> Steps:
    """Return the engine's batch, where it says none vLLM's for a GPU of this size.

    Source: vLLM 0.32, engine/arg_utils.py `get_batch_defaults`.
    """
    tokens, sequences = (2048, 256) if vram_gib < 75 or gpu.startswith("A100") else (8192, 1024)
    tokens = 16384 if vram_gib >= 160 else tokens
    sequences = _number(engine, "max_num_seqs", sequences)
    longest = _number(engine, "max_model_len", 0)
    if engine.get("enable_chunked_prefill") is False and "max_num_batched_tokens" not in engine:
        tokens = max(tokens, longest)
    return Steps(_number(engine, "max_num_batched_tokens", max(tokens, sequences)), sequences)


def weight_bytes(facts: ModelFacts, engine: Mapping[str, Any], split: Split) -> Interval:
    """Return the weights on one GPU: exact on a single one, up to a twentieth more where some are kept on each."""
    whole = _loaded(facts, engine)
    if split.gpus == 1:
        return whole
    first = _embedding_bytes(facts, engine) / split.tensor if split.pipeline > 1 else 0.0
    share = whole.scaled(1 / split.gpus)
    return Interval(share.low, share.high * 1.05 + first)


def adapter_bytes(facts: ModelFacts, engine: Mapping[str, Any], adapters: int, split: Split) -> Interval:
    """Return the room for LoRA adapters: `max_loras` places at the largest rank, full of zeros or not."""
    if not adapters and not engine.get("enable_lora"):
        return exactly(0.0)
    c = facts.config
    hidden, inner = int(c.get("hidden_size", 0)), int(c.get("intermediate_size", 0))
    places, rank = _number(engine, "max_loras", 1), _number(engine, "max_lora_rank", 16)
    # Query, key, value and output take and give about `hidden`; gate, up and down `hidden` and `inner`.
    numbers = int(c.get("num_hidden_layers", 0)) * rank * (8 * hidden + 3 * (hidden + inner))
    most = float(places * numbers * model_type_bytes(c, engine))
    return Interval(most / (2 * split.gpus), most)


def overhead_bytes(facts: ModelFacts, engine: Mapping[str, Any], split: Split, steps: Steps) -> Interval:
    """Return what is neither weights nor cache: activations of the largest step, CUDA graphs, CUDA's own context."""
    c = facts.config
    inner = max(int(c.get("intermediate_size", 0)), _experts(c))
    mlp = steps.batched_tokens * (3 * inner / split.tensor + 2 * int(c.get("hidden_size", 0))) * 2
    logits = steps.sequences * int(c.get("vocab_size", 0)) * 8.0  # 32-bit logits and a sorted copy
    activations = Interval(0.5 * max(mlp, logits), 1.3 * (mlp + logits))
    graphs = exactly(0.0) if engine.get("enforce_eager") is True else Interval(0.1, 1.0).scaled(GIB)
    context = Interval(0.1, 0.6) if split.gpus == 1 else Interval(0.2, 1.6)
    encoder = Interval(0.0, 2.0) if c.get("encoders") else exactly(0.0)
    return activations + graphs + context.scaled(GIB) + encoder.scaled(GIB)


def _loaded(facts: ModelFacts, engine: Mapping[str, Any]) -> Interval:
    """Return the bytes of all weights as they lie on GPUs: floats take the type that the engine computes with."""
    if "quant_method" in facts.config:
        return exactly(float(sum(facts.weight_bytes.values())))
    size = model_type_bytes(facts.config, engine)
    total = sum(count * size / _FLOATS.get(name, size) for name, count in facts.weight_bytes.items())
    online = engine.get("quantization")
    if online is None:
        return exactly(total)
    embeddings = _embedding_bytes(facts, engine)
    if online in _ONLINE_FP8:
        return Interval(total / size, total / size + embeddings)
    return Interval(total / (4 * size), total)


def _embedding_bytes(facts: ModelFacts, engine: Mapping[str, Any]) -> float:
    c = facts.config
    tables = 1 if c.get("tie_word_embeddings") else 2
    return float(tables * int(c.get("vocab_size", 0)) * int(c.get("hidden_size", 0)) * model_type_bytes(c, engine))


def _experts(config: Mapping[str, Any]) -> int:
    """Return how wide the experts of one token are together."""
    return int(config.get("moe_intermediate_size", 0)) * int(config.get("num_experts_per_tok", 0))


def _number(engine: Mapping[str, Any], name: str, default: int) -> int:
    value = engine.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
