"""What each layer of a model keeps of a request in the KV cache, read from its config.json. Pure.

Source: vLLM 0.32, v1/kv_cache_interface.py and model_executor/layers/mamba/mamba_utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FULL, SLIDING, STATE = "full", "sliding", "state"
TYPE_BYTES = {"half": 2, "float16": 2, "bfloat16": 2, "float": 4, "float32": 4}
_FP8 = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")
_KINDS = {
    "full_attention": FULL,
    "attention": FULL,
    "sliding_attention": SLIDING,
    "linear_attention": STATE,
}
# Fields of layers whose pages this table of kinds does not describe, with the words for a person.
_UNCOMPUTED = {
    "attention_chunk_size": "chunked local attention",
    "global_head_dim": "layers with heads of several sizes",
    "index_topk": "sparse attention with an index beside the cache",
    "mamba_d_state": "Mamba layers",
    "num_global_key_value_heads": "layers with several numbers of heads",
    "num_kv_shared_layers": "layers that share a cache",
    "ssm_state_size": "Mamba layers",
    "state_size": "Mamba layers",
}


@dataclass(frozen=True)
class LayerKind:
    """Layers of one GPU that keep the same. `token_bytes` are for one layer and token, 0 for layers with a state.

    `state_bytes` are for one layer and request; `window` counts the tokens that a sliding layer keeps.
    """

    kind: str
    layers: int
    token_bytes: int = 0
    state_bytes: int = 0
    window: int = 0


@dataclass(frozen=True)
class Unknown:
    """Why a figure cannot be computed; it is never taken for 0."""

    why: str


@dataclass(frozen=True)
class Split:
    """Over how many GPUs an engine splits a model: its tensors, and its layers in a row."""

    tensor: int = 1
    pipeline: int = 1

    @property
    def gpus(self) -> int:
        """Return how many GPUs hold one copy."""
        return self.tensor * self.pipeline


def split_of(engine: Mapping[str, Any]) -> Split:
    """Return how an engine splits; arguments that are no numbers are somebody else's error."""
    ways = [engine.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    return Split(*(way if isinstance(way, int) and way > 0 else 1 for way in ways))


def layer_kinds(config: Mapping[str, Any], engine: Mapping[str, Any], split: Split) -> tuple[LayerKind, ...] | Unknown:
    """Return the layers of the fullest GPU by what they keep, in a fixed order; or why that is not known here."""
    count = config.get("num_hidden_layers")
    if not isinstance(count, int) or count < 1:
        return Unknown("config.json does not say num_hidden_layers")
    if unread := next((words for key, words in sorted(_UNCOMPUTED.items()) if config.get(key)), None):
        return Unknown(f"{unread}: vLLM alone knows their pages")
    kinds = _kinds(config, count)
    size = kv_type_bytes(config, engine)
    if isinstance(kinds, Unknown):
        return kinds
    if isinstance(size, Unknown):
        return size
    counts = {kind: -(-kinds.count(kind) // split.pipeline) for kind in (FULL, SLIDING, STATE) if kind in kinds}
    found = [_layer(kind, layers, config, engine, split, size) for kind, layers in counts.items()]
    unknown = [each for each in found if isinstance(each, Unknown)]
    return unknown[0] if unknown else tuple(each for each in found if isinstance(each, LayerKind))


def model_type_bytes(config: Mapping[str, Any], engine: Mapping[str, Any]) -> int:
    """Return the bytes of one number as the engine computes with it; vLLM turns 32-bit checkpoints into 16 bits."""
    return TYPE_BYTES.get(str(engine.get("dtype", "auto")), 2)


def kv_type_bytes(config: Mapping[str, Any], engine: Mapping[str, Any]) -> int | Unknown:
    """Return the bytes of one number in the KV cache."""
    name = str(engine.get("kv_cache_dtype", "auto"))
    if name == "auto":
        return 1 if config.get("kv_cache_quantized") else model_type_bytes(config, engine)
    if name in _FP8:
        return 1
    return TYPE_BYTES.get(name) or Unknown(f"kv_cache_dtype {name}: its scales take room that only vLLM knows")


def head_size(config: Mapping[str, Any]) -> int | None:
    """Return the size of one head; None where the file says neither it nor what it follows from."""
    if isinstance(config.get("head_dim"), int) and config["head_dim"] > 0:
        return int(config["head_dim"])
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return int(hidden) // int(heads) if hidden and heads else None


def _kinds(config: Mapping[str, Any], count: int) -> list[str] | Unknown:
    named = config.get("layer_types")
    if named:
        other = sorted(set(named) - set(_KINDS))
        return Unknown(f"layers of type {', '.join(other)}") if other else [_KINDS[each] for each in named]
    if interval := config.get("full_attention_interval"):
        return [FULL if (n + 1) % int(interval) == 0 else STATE for n in range(count)]
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return [FULL] * count
    if pattern := config.get("sliding_window_pattern"):
        return [FULL if (n + 1) % int(pattern) == 0 else SLIDING for n in range(count)]
    return [SLIDING] * count


def _layer(
    kind: str, layers: int, config: Mapping[str, Any], engine: Mapping[str, Any], split: Split, size: int
) -> LayerKind | Unknown:
    if kind == STATE:
        return _state_layer(layers, config, engine, split)
    token = _token_bytes(config, split, size)
    if isinstance(token, Unknown):
        return token
    if kind == SLIDING:
        window = config.get("sliding_window")
        return (
            LayerKind(kind, layers, token, window=int(window)) if window else Unknown("no sliding_window is declared")
        )
    return LayerKind(kind, layers, token)


def _token_bytes(config: Mapping[str, Any], split: Split, size: int) -> int | Unknown:
    """Return what one layer keeps of one token on one GPU: keys and values of its heads, or MLA's one latent vector."""
    if rank := config.get("kv_lora_rank"):
        return (int(rank) + int(config.get("qk_rope_head_dim", 0))) * size
    head, heads = head_size(config), config.get("num_key_value_heads") or config.get("num_attention_heads")
    if head is None or not heads:
        return Unknown("config.json does not say the number and size of the attention's heads")
    return 2 * -(-int(heads) // split.tensor) * head * size


def _state_layer(
    layers: int, config: Mapping[str, Any], engine: Mapping[str, Any], split: Split
) -> LayerKind | Unknown:
    """Return gated delta net's state: the last inputs of its convolution, and a matrix for each value head."""
    names = ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim", "conv_kernel_dim")
    sizes = [config.get(f"linear_{name}") for name in names]
    if not all(isinstance(each, int) and each > 0 for each in sizes):
        return Unknown("config.json does not say the sizes of its linear attention")
    key_heads, value_heads, key, value, kernel = (int(each) for each in sizes if each)
    plain = model_type_bytes(config, engine)
    wanted = str(engine.get("mamba_ssm_cache_dtype", "auto"))
    kept = TYPE_BYTES.get(wanted if wanted != "auto" else str(config.get("mamba_ssm_dtype")), plain)
    width = -(-(2 * key_heads * key + value_heads * value) // split.tensor)
    state = width * (kernel - 1) * plain + -(-value_heads // split.tensor) * value * key * kept
    return LayerKind(STATE, layers, state_bytes=state)
