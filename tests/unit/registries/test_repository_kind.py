"""A registry tells what Triton could serve from what it could not, and takes no pickles for either runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from reconciler.core.model.release import kind_of_model
from reconciler.registries.file import FileRegistry

KIND = kind_of_model("triton")


def artifact(root: Path, *names: str) -> str:
    for name in names:
        file = root / "m" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes((2).to_bytes(8, "little") + b"{}")
    return "file:m"


@pytest.mark.parametrize(
    "names",
    [
        ("config.pbtxt", "1/x"),
        ("a/config.pbtxt", "a/1/x"),
        ("model.py",),
        ("1/model.onnx",),
        ("config.json", "w.safetensors"),
    ],
)
async def test_what_triton_could_serve_has_a_digest(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = await FileRegistry(tmp_path, tmp_path / "home").resolve(parse_ref(artifact(tmp_path, *names)), kind=KIND)
    assert found.artifact.digest.startswith("sha256:")


@pytest.mark.parametrize("names", [("readme.md",), ("config.json",), ("config.pbtxt", "1/model.pt")])
async def test_what_it_could_not_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(SluiceError, match="REG-002"):
        await FileRegistry(tmp_path, tmp_path / "home").resolve(parse_ref(artifact(tmp_path, *names)), kind=KIND)


async def test_a_repository_is_no_model_for_vllm(tmp_path: Path) -> None:
    assert kind_of_model("vllm") == "model"
    reference = parse_ref(artifact(tmp_path, "config.pbtxt", "1/model.py"))
    with pytest.raises(SluiceError, match="REG-002"):
        await FileRegistry(tmp_path, tmp_path / "home").resolve(reference, kind="model")
