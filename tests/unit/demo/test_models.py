"""The demo's models are valid safetensors with the same bytes everywhere, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from reconciler.demo.models import DEMO_MODELS, TinyModel, ensure_model, ensure_models, parameters, write_model
from reconciler.demo.tokenizer import SPECIAL, tokenizer_json, vocabulary

SMALL = TinyModel("v1", 2, 1)
WEIGHTS_OF_V1 = "baf27612fdbe26ad77f5ea44c6a246df599a0b5a8cbd3c78c0aafdae5b7f1208"


def quiet(_: str) -> None:
    pass


def header(path: Path) -> tuple[dict[str, Any], int]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    content: dict[str, Any] = json.loads(data[8 : 8 + length])
    return content, len(data) - 8 - length


def test_the_weights_are_the_same_on_every_machine(tmp_path: Path) -> None:
    write_model(SMALL, tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS_OF_V1


def test_tensors_fill_the_file_without_gap_or_overlap(tmp_path: Path) -> None:
    write_model(SMALL, tmp_path)
    tensors, size = header(tmp_path / "model.safetensors")
    assert tensors.pop("__metadata__") == {"format": "pt"}
    offsets = sorted(tuple(t["data_offsets"]) for t in tensors.values())
    assert [start for start, _ in offsets] == [0, *(end for _, end in offsets[:-1])]
    assert offsets[-1][1] == size == 2 * parameters(SMALL)
    assert tensors["lm_head.weight"]["shape"][0] == len(vocabulary()[0])


def test_v1_and_v2_differ_in_weights_and_not_in_cost() -> None:
    by_name = {model.name: model for model in DEMO_MODELS}
    assert parameters(by_name["v1"]) == parameters(by_name["v2"])
    assert parameters(by_name["v3"]) > 3 * parameters(by_name["v1"])


def test_every_model_gets_a_folder_of_its_own_and_is_made_once(tmp_path: Path) -> None:
    lines: list[str] = []
    first = ensure_models(tmp_path, lines.append)
    again = ensure_models(tmp_path, lines.append)
    assert first == again
    assert len(set(first.values())) == len(lines) == len(DEMO_MODELS)
    assert sorted(p.name for p in first["v1"].iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reconciler.demo.models.write_safetensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_model(SMALL, tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_every_merge_makes_a_token_from_two_tokens() -> None:
    tokens, merges = vocabulary()
    assert all(left in tokens and right in tokens and left + right in tokens for left, right in merges)
    assert sorted(tokens.values()) == list(range(len(tokens)))
    assert [t["content"] for t in tokenizer_json()["added_tokens"]] == list(SPECIAL)
