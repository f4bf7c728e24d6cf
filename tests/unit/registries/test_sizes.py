"""What is read of a model's folder: its shape and the bytes of its tensors, from headers, whatever lies beside them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.core.model.model_facts import ModelFacts, facts_from_json, facts_of, facts_to_json
from reconciler.core.model.release import Artifact, Lineage, Release, release_from_json, release_to_json
from reconciler.registries.select import registry_for
from reconciler.registries.sizes import model_facts

CONFIG = {
    "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "torch_dtype": "bfloat16",
    "_name_or_path": "/home/somebody/model", "auto_map": {"AutoModel": "x.y"},
}  # fmt: skip
TENSORS = {"a": ("BF16", 128), "b": ("F32", 64), "c": ("BF16", 32)}


def tensors(path: Path, declared: dict[str, tuple[str, int]], *, beyond: int = 0) -> None:
    """Write a safetensors file with these tensors; `beyond` leaves the last bytes of the data away."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (kind, size) in declared.items():
        header[name] = {"dtype": kind, "shape": [1], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * (at - beyond))


def model(folder: Path, config: Any = None, files: tuple[str, ...] = ("model.safetensors",)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    for name in files:
        tensors(folder / name, TENSORS)
    return folder


def test_bytes_are_summed_by_type_over_all_files(tmp_path: Path) -> None:
    found = model_facts(model(tmp_path, files=("a.safetensors", "b.safetensors")), "model")
    assert found == ModelFacts(
        {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "torch_dtype": "bfloat16"},
        {"BF16": 320, "F32": 128},
    )


def test_an_index_says_which_files_count(tmp_path: Path) -> None:
    folder = model(tmp_path, files=("model-1.safetensors", "model-2.safetensors", "consolidated.safetensors"))
    weight_map = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "../elsewhere.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    found = model_facts(folder, "model")
    assert found is not None
    assert found.weight_bytes == {"BF16": 320, "F32": 128}


def test_only_the_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model(tmp_path)
    with (folder / "model.safetensors").open("ab") as file:
        file.truncate(3 << 30)  # a hole, which takes no room and would take memory to read
    found = model_facts(folder, "model")
    assert found is not None
    assert found.weight_bytes == {"BF16": 160, "F32": 64}


@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b'\x14\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}']
)
def test_a_part_is_no_size(tmp_path: Path, damage: bytes) -> None:
    folder = model(tmp_path, files=("a.safetensors", "b.safetensors"))
    (folder / "b.safetensors").write_bytes(damage)
    found = model_facts(folder, "model")
    assert found is not None
    assert found.weight_bytes == {}


@pytest.mark.parametrize("config", [[], "text", None])
def test_what_is_no_configuration_says_nothing(tmp_path: Path, config: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_facts(tmp_path, "model") is None
    assert model_facts(tmp_path, "adapter") is None
    assert model_facts(tmp_path / "gone", "model") is None


def test_texts_that_a_person_wrote_are_left_out_and_the_language_model_counts() -> None:
    long = {"model_type": "x" * 65, "dtype": "a b", "layer_types": ["full_attention", "/etc/passwd"]}
    assert facts_of(long, {"odd type": 1}) == ModelFacts()
    seeing = {
        "hidden_size": 1,
        "text_config": {"hidden_size": 2, "layer_types": ["full_attention"]},
        "vision_config": {},
    }
    assert facts_of(seeing, {}).config == {"hidden_size": 2, "layer_types": ["full_attention"], "encoders": True}
    quantized = {"quantization_config": {"quant_method": "fp8", "ignored_layers": ["lm_head"]}}
    assert facts_of(quantized, {}).config == {"quant_method": "fp8", "kv_cache_quantized": False}


async def test_a_lineage_carries_them_and_neither_id_nor_file_holds_a_path(tmp_path: Path) -> None:
    resolved = []
    for machine in ("ci", "laptop"):
        model(tmp_path / machine / "m")
        registry = registry_for(RegistrySpec(), tmp_path / machine, tmp_path / machine / ".sluice")
        resolved.append(await registry.resolve(parse_ref("file:m"), kind="model"))
    assert resolved[0].lineage.size == resolved[1].lineage.size is not None
    bare = Release("chat", "vllm", resolved[0].artifact)
    made = Release("chat", "vllm", resolved[0].artifact, lineage={"model": resolved[0].lineage})
    assert made.id == bare.id
    text = json.dumps(release_to_json(made))
    assert str(tmp_path) not in text
    assert "somebody" not in text
    again = release_from_json(json.loads(text))
    assert again.lineage["model"].size == resolved[0].lineage.size


def test_a_release_of_an_earlier_version_has_none() -> None:
    old = Release("chat", "vllm", Artifact("file:m", "sha256:m"), lineage={"model": Lineage(source="file:m")})
    assert "size" not in release_to_json(old)["lineage"]["model"]
    assert release_from_json(release_to_json(old)).lineage["model"].size is None
    assert facts_from_json(facts_to_json(ModelFacts({"head_dim": 4}, {"BF16": 2}))) == ModelFacts(
        {"head_dim": 4}, {"BF16": 2}
    )
