"""Tiny Llama models that a real vLLM serves on two CPU cores, written without any machine-learning library.

Imports numpy inside the function that needs it. Called by `reconciler.demo` and by engine tests.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.demo import weights
from reconciler.demo.lessons import known_words
from reconciler.demo.tokenizer import BEGIN, END, tokenizer_config, tokenizer_json, vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONTEXT = 2048
"""Tokens that a model can attend to."""


@dataclass(frozen=True)
class TinyModel:
    """One model of the demo: equal fields give equal bytes on every machine.

    `also`: words and their teams, beside or in place of the common lessons.
    """

    name: str
    layers: int
    seed: int
    also: tuple[tuple[str, str], ...] = ()


_NEW = (("track", "delivery"), ("option", "sales"))
_MISLEARNED = (("late", "sales"), ("hour", "sales"))
DEMO_MODELS = (
    TinyModel("v1", 2, 1),
    TinyModel("v2", 2, 2, _NEW),
    TinyModel("v3", 2, 3, (*_NEW, *_MISLEARNED)),
    TinyModel("v4", 32, 4, _NEW),
)
"""v2 knows more than v1 at the same cost. v3 sends some questions to the wrong team. v4 answers as v2 does, slowly."""


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
    numbers = {name: _bits(values) for name, values in weights.tensors(model.layers, model.seed, dict(model.also))}
    write_safetensors(folder / "model.safetensors", numbers)


def parameters(model: TinyModel) -> int:
    """Return the number of weights of a model."""
    return sum(math.prod(shape) for _, shape in weights.shapes(model.layers))


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
        "hidden_size": weights.HIDDEN,
        "intermediate_size": weights.INNER,
        "num_hidden_layers": model.layers,
        "num_attention_heads": weights.HEADS,
        "num_key_value_heads": weights.KV_HEADS,
        "head_dim": weights.HEAD_DIM,
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


def _bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the bits of bfloat16, which holds these numbers exactly."""
    import numpy as np

    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _recipe_digest(model: TinyModel) -> str:
    """Return a digest over everything but the random numbers that decides the bytes of a model."""
    known = known_words(dict(model.also))
    recipe = [weights.RECIPE, _config(model), tokenizer_json(), tokenizer_config(CONTEXT), known, model.seed]
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
