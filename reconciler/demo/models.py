"""Tiny Llama models that a real vLLM serves on two CPU cores, written without any machine-learning library.

Imports numpy inside the function that needs it. Called by `reconciler.demo` and by engine tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.demo.tokenizer import BEGIN, END, SPECIAL, tokenizer_config, tokenizer_json, vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTEXT = 2048
"""Tokens that a model can attend to."""

_HIDDEN, _INNER, _HEADS, _KV_HEADS, _HEAD_DIM = 256, 512, 4, 2, 64
_WEIGHT_LIMIT = 0.0625
_LOGIT_LIMIT = 0.5


@dataclass(frozen=True)
class TinyModel:
    """One model of the demo: equal fields give equal bytes on every machine."""

    name: str
    layers: int
    seed: int


DEMO_MODELS = (TinyModel("v1", 2, 1), TinyModel("v2", 2, 2), TinyModel("v3", 10, 3))
"""v1 and v2 cost the same to run; v3 has five times the layers and answers more slowly."""


def ensure_models(cache: Path, echo: Callable[[str], None]) -> dict[str, Path]:
    """Write every demo model below `cache/models` unless it is there, and return name → folder."""
    return {model.name: ensure_model(model, cache / "models", echo) for model in DEMO_MODELS}


def ensure_model(model: TinyModel, parent: Path, echo: Callable[[str], None]) -> Path:
    """Write one model into `parent` unless it is there; a folder appears whole or not at all.

    The folder's name carries a digest of what it was made from, so that a newer recipe never meets an older folder.
    """
    target = parent / f"{model.name}-{_recipe_digest(model)[:8]}"
    if target.is_dir():
        return target
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{model.name}-", dir=parent))
    try:
        write_model(model, scratch)
        scratch.chmod(0o755)
        _rename_into_place(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    echo(f"model {model.name}: {model.layers} layers, {parameters(model) / 1e6:.1f} million parameters, in {target}")
    return target


def write_model(model: TinyModel, folder: Path) -> None:
    """Write config, tokenizer and safetensors weights of `model` into `folder`."""
    _write_json(folder / "config.json", _config(model))
    _write_json(folder / "generation_config.json", {"bos_token_id": BEGIN, "eos_token_id": END, "do_sample": False})
    _write_json(folder / "tokenizer.json", tokenizer_json())
    _write_json(folder / "tokenizer_config.json", tokenizer_config(CONTEXT))
    write_safetensors(folder / "model.safetensors", dict(_tensors(model)))


def parameters(model: TinyModel) -> int:
    """Return the number of weights of a model."""
    count = 0
    for _, shape, _ in _shapes(model):
        size = 1
        for side in shape:
            size *= side
        count += size
    return count


def write_safetensors(path: Path, tensors: dict[str, NDArray[np.uint16]]) -> None:
    """Write bfloat16 tensors, given as their bits, in the order given.

    Source: the safetensors format: an 8-byte little-endian header length, a JSON header, the raw data.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors.values():
            file.write(tensor.astype("<u2").tobytes())


def _config(model: TinyModel) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocabulary()[0]),
        "hidden_size": _HIDDEN,
        "intermediate_size": _INNER,
        "num_hidden_layers": model.layers,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "head_dim": _HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "dtype": "bfloat16",
    }


def _shapes(model: TinyModel) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """Yield (name, shape, largest absolute weight) of every tensor; 0 stands for a norm, whose weights are all one."""
    vocab, kv = len(vocabulary()[0]), _KV_HEADS * _HEAD_DIM
    yield "model.embed_tokens.weight", (vocab, _HIDDEN), 1.0
    for layer in range(model.layers):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (_HIDDEN,), 0.0
        yield f"{prefix}.self_attn.q_proj.weight", (_HEADS * _HEAD_DIM, _HIDDEN), _WEIGHT_LIMIT
        yield f"{prefix}.self_attn.k_proj.weight", (kv, _HIDDEN), _WEIGHT_LIMIT
        yield f"{prefix}.self_attn.v_proj.weight", (kv, _HIDDEN), _WEIGHT_LIMIT
        yield f"{prefix}.self_attn.o_proj.weight", (_HIDDEN, _HEADS * _HEAD_DIM), _WEIGHT_LIMIT
        yield f"{prefix}.post_attention_layernorm.weight", (_HIDDEN,), 0.0
        yield f"{prefix}.mlp.gate_proj.weight", (_INNER, _HIDDEN), _WEIGHT_LIMIT
        yield f"{prefix}.mlp.up_proj.weight", (_INNER, _HIDDEN), _WEIGHT_LIMIT
        yield f"{prefix}.mlp.down_proj.weight", (_HIDDEN, _INNER), _WEIGHT_LIMIT
    yield "model.norm.weight", (_HIDDEN,), 0.0
    yield "lm_head.weight", (vocab, _HIDDEN), _LOGIT_LIMIT


def _tensors(model: TinyModel) -> Iterator[tuple[str, NDArray[np.uint16]]]:
    """Yield the weights as the bits of bfloat16.

    Eight-bit random integers times a power of two, which bfloat16 holds exactly: no floating-point routine, whose
    last bit depends on the processor, takes part, and the content digest is the same everywhere. Rows of special
    tokens in the output layer are zero: their logit is never the largest, and an answer ends where the client says.
    """
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(model.seed))
    for name, shape, limit in _shapes(model):
        tensor = np.ones(shape, dtype=np.float32)
        if limit:
            tensor = (generator.integers(-128, 128, size=shape, dtype=np.int32) * (limit / 128)).astype(np.float32)
        if name == "lm_head.weight":
            tensor[: len(SPECIAL)] = 0.0
        yield name, (tensor.view(np.uint32) >> 16).astype(np.uint16)


def _recipe_digest(model: TinyModel) -> str:
    """Return a digest over everything but the random numbers that decides the bytes of a model."""
    recipe = ["bf16", _config(model), tokenizer_json(), tokenizer_config(CONTEXT), list(_shapes(model)), model.seed]
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _rename_into_place(scratch: Path, target: Path) -> None:
    """Rename, unless another process made the same folder in the meantime: then that one is as good."""
    try:
        os.rename(scratch, target)
    except OSError:
        if not target.is_dir():
            raise
