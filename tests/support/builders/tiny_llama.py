"""A demo model in plain numpy: reads what `write_model` wrote and answers greedily, as a server of it has to."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reconciler.demo.tokenizer import ASSISTANT, BEGIN, END

Matrix = NDArray[np.float32]
_SYSTEM, _USER = 3, 4
_OUTWARD = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


class TinyLlama:
    """One model's weights and vocabulary, and how it answers a chat."""

    def __init__(self, folder: Path) -> None:
        self._weights = _tensors(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        self._heads = config["num_attention_heads"]
        layers = [_below(self._weights, f"model.layers.{n}.") for n in range(config["num_hidden_layers"])]
        # A layer whose outputs are multiplied by zeros adds exactly nothing, at full cost.
        self._layers = [read for read in layers if any(read[name].any() for name in _OUTWARD)]
        self._kv_heads, self._head = config["num_key_value_heads"], config["head_dim"]
        self._ids: dict[str, int] = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        self._texts = {number: text for text, number in self._ids.items()}

    def answer(self, system: str, user: str, tokens: int = 24) -> str:
        """Return the most likely answer, until the model ends it or `tokens` are there."""
        prompt = [BEGIN, _SYSTEM, *self._encode(system), _USER, *self._encode(user), ASSISTANT]
        told: list[int] = []
        while len(told) < tokens and (following := self._next([*prompt, *told])) != END:
            told.append(following)
        return "".join(self._texts[token] for token in told).replace("▁", " ").strip()

    def _encode(self, text: str) -> list[int]:
        found = []
        for word in text.lower().split():
            piece = "▁" + word
            length = max(k for k in range(1, len(piece) + 1) if piece[:k] in self._ids)
            found += [self._ids[piece[:length]], *(self._ids.get(letter, 0) for letter in piece[length:])]
        return found

    def _next(self, tokens: list[int]) -> int:
        hidden = self._weights["model.embed_tokens.weight"][tokens]
        for read in self._layers:
            hidden = self._layer(hidden, read)
        return int(
            np.argmax(_norm(hidden[-1:], self._weights["model.norm.weight"]) @ self._weights["lm_head.weight"].T)
        )

    def _layer(self, hidden: Matrix, read: dict[str, Matrix]) -> Matrix:
        inward = _norm(hidden, read["input_layernorm.weight"])
        hidden = hidden + self._attention(inward, read) @ read["self_attn.o_proj.weight"].T
        inward = _norm(hidden, read["post_attention_layernorm.weight"])
        gate = inward @ read["mlp.gate_proj.weight"].T
        inner = gate / (1 + np.exp(-gate)) * (inward @ read["mlp.up_proj.weight"].T)
        outward: Matrix = hidden + inner @ read["mlp.down_proj.weight"].T
        return outward

    def _attention(self, inward: Matrix, read: dict[str, Matrix]) -> Matrix:
        """Return causal attention. Queries are zero in these models, so all places count alike, however rotated."""
        assert not read["self_attn.q_proj.weight"].any()
        places = len(inward)
        values = (inward @ read["self_attn.v_proj.weight"].T).reshape(places, self._kv_heads, self._head)
        mean: Matrix = np.cumsum(values, 0) / np.arange(1, places + 1)[:, None, None]
        wide: Matrix = np.repeat(mean, self._heads // self._kv_heads, axis=1).reshape(places, -1)
        return wide


def _norm(x: Matrix, weight: Matrix) -> Matrix:
    scaled: Matrix = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weight
    return scaled


def _below(weights: dict[str, Matrix], prefix: str) -> dict[str, Matrix]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _tensors(path: Path) -> dict[str, Matrix]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    found = {}
    for name, about in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in about["data_offsets"])
            bits = np.frombuffer(data[start:end], dtype="<u2").astype(np.uint32) << 16
            found[name] = bits.view(np.float32).reshape(about["shape"])
    return found
