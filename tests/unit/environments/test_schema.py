"""The JSON Schema: complete, described, and in agreement with the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from environments.descriptions import FIELDS
from environments.interpolate import Interpolation
from environments.schema import json_schema
from environments.spec import EnvironmentSpec
from environments.yaml_parse import parse_yaml
from environments.yaml_tree import Lines
from tests.unit.environments.loading import BASE
from tests.unit.environments.test_load import ROOT, SHIPPED

SCHEMA = json_schema()


def plain(text: str) -> Any:
    """Return a file's plain data, as an editor sees it."""
    tree, problems = parse_yaml(text, "x.yaml")
    assert tree is not None
    assert not problems
    return Interpolation(Lines("x.yaml", tree), {}, "keep").plain(tree)


def test_it_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


def own_descriptions() -> set[str]:
    """Return the fields that carry their descriptions themselves, as those of gates do."""
    raw = EnvironmentSpec.model_json_schema(mode="validation")
    blocks = [("EnvironmentSpec", raw), *raw["$defs"].items()]
    fields = [(f"{name}.{key}", field) for name, b in blocks for key, field in b.get("properties", {}).items()]
    return {name for name, field in fields if "description" in field}


def test_every_block_and_field_is_described() -> None:
    used, own = set(), own_descriptions()
    for name, block in [("EnvironmentSpec", SCHEMA), *SCHEMA["$defs"].items()]:
        assert block["description"], name
        for key, field in block.get("properties", {}).items():
            assert field["description"], f"{name}.{key}"
            used.add(f"{name}.{key}")
    assert used == {*FIELDS, *own}
    assert not own & set(FIELDS), "described twice"


@pytest.mark.parametrize(
    "path", [*(ROOT / "environments" / f"{name}.yaml" for name in SHIPPED), Path(__file__).parent / "base.yaml"]
)
def test_good_files_are_valid(path: Path) -> None:
    assert list(Draft202012Validator(SCHEMA).iter_errors(plain(path.read_text()))) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mlflow:chat-llm/7", "mlflow:chat-llm/champion"),
        ("mlflow:chat-llm/7", "hf:org/name@main"),
        ("bake_s: 900", "bake: 900"),
        ("runtime: vllm", "runtime: vlm"),
        ("platform: kubernetes", "platform: nomad"),
        ("  chat:", "  Chat_1:"),
        ("alpha: 0.01", "alpha: 1"),
        ("GPU-001: deny", "GPU-001: block"),
        ("owner: ml-platform\n", ""),
    ],
)
def test_an_editor_sees_what_the_loader_refuses(old: str, new: str) -> None:
    assert old in BASE
    assert list(Draft202012Validator(SCHEMA).iter_errors(plain(BASE.replace(old, new, 1))))
