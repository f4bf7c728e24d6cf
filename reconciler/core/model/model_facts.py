"""What a model's files say of its size: the shape that config.json declares, and its weights' bytes by type. Pure.

Registries read it, a release's lineage carries it, `reconciler.core.memory` computes with it. It never identifies a
release, and holds no text that a person wrote: numbers, switches and short words alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.canonical import Json

_WORD = re.compile(r"[A-Za-z0-9_\-.]{1,64}")
_LAYERS_MAX = 1024
_NUMBERS = (
    "attention_chunk_size",
    "first_k_dense_replace",
    "full_attention_interval",
    "global_head_dim",
    "head_dim",
    "hidden_size",
    "index_topk",
    "intermediate_size",
    "kv_lora_rank",
    "linear_conv_kernel_dim",
    "linear_key_head_dim",
    "linear_num_key_heads",
    "linear_num_value_heads",
    "linear_value_head_dim",
    "mamba_d_state",
    "max_position_embeddings",
    "max_window_layers",
    "moe_intermediate_size",
    "num_attention_heads",
    "num_experts_per_tok",
    "num_global_key_value_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "num_kv_shared_layers",
    "qk_rope_head_dim",
    "sliding_window",
    "sliding_window_pattern",
    "ssm_state_size",
    "state_size",
    "tie_word_embeddings",
    "use_sliding_window",
    "vocab_size",
)
_WORDS = ("dtype", "mamba_ssm_dtype", "model_type", "torch_dtype")


@dataclass(frozen=True)
class ModelFacts:
    """`config` holds the fields of config.json that memory depends on, `weight_bytes` the bytes of all tensors by type.

    Types are called as in safetensors (`BF16`, `F8_E4M3`). What a file does not say is not there, never 0.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    weight_bytes: Mapping[str, int] = field(default_factory=dict)


def facts_of(config: Any, weight_bytes: Mapping[str, int]) -> ModelFacts:
    """Return what counts of a config.json, whatever else it holds; a model of several kinds is its language model."""
    outer = config if isinstance(config, dict) else {}
    inner = outer.get("text_config")
    text = {**outer, **inner} if isinstance(inner, dict) else outer
    kept: Json = {key: text[key] for key in _NUMBERS if isinstance(text.get(key), int | float)}
    kept |= {key: text[key] for key in _WORDS if _is_word(text.get(key))}
    layers = text.get("layer_types")
    if isinstance(layers, list) and len(layers) <= _LAYERS_MAX and all(map(_is_word, layers)):
        kept["layer_types"] = list(layers)
    if any(isinstance(outer.get(key), dict) for key in ("vision_config", "audio_config")):
        kept["encoders"] = True
    return ModelFacts(kept | _quantization(text), {k: int(v) for k, v in sorted(weight_bytes.items()) if _is_word(k)})


def facts_to_json(facts: ModelFacts) -> Json:
    """Return the facts as a lineage keeps them."""
    return {"config": dict(sorted(facts.config.items())), "weight_bytes": dict(sorted(facts.weight_bytes.items()))}


def facts_from_json(data: Any) -> ModelFacts | None:
    """Return what `facts_to_json` wrote; None for a lineage that has none."""
    return ModelFacts(data["config"], data["weight_bytes"]) if isinstance(data, dict) else None


def _quantization(text: Json) -> Json:
    """Return how the weights are quantized, and whether the checkpoint brings scales for an fp8 KV cache."""
    block = text.get("quantization_config")
    if not isinstance(block, dict):
        return {}
    method = block.get("quant_method")
    scheme = block.get("kv_cache_scheme") or block.get("kv_cache_quant_algo")
    return {"quant_method": method if _is_word(method) else "unknown", "kv_cache_quantized": bool(scheme)}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None
