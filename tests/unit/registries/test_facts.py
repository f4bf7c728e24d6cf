"""What an artifact says of itself: its card, its configuration, its tags; and nothing that could harm who reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.registries.facts import facts_of, facts_of_tags

CARD = "---\nlicense: apache-2.0\ndatasets: [org/a, org/b]\n---\n# A model\n"


def folder(root: Path, **files: str) -> Path:
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_a_model_with_a_card(tmp_path: Path) -> None:
    config = json.dumps({"_name_or_path": "org/llm"})
    made = folder(tmp_path, README__md=CARD, config__json=config, model__safetensors="", model__sig="{}")
    assert dict(facts_of(made, "model")) == {
        "license": "apache-2.0", "datasets": "org/a, org/b", "model_card": "README.md", "name": "org/llm",
        "formats": "safetensors", "signature": "model.sig",
    }  # fmt: skip


def test_an_adapter(tmp_path: Path) -> None:
    config = json.dumps({"r": 8, "base_model_name_or_path": "org/llm"})
    made = folder(tmp_path, adapter_config__json=config, adapter_model__safetensors="", old__bin="")
    assert dict(facts_of(made, "adapter")) == {"rank": "8", "base": "org/llm", "formats": "bin,safetensors"}


def test_tags_come_before_files(tmp_path: Path) -> None:
    made = folder(tmp_path, README__md=CARD)
    tags = {"sluice.license": "ours", "sluice.signature": "verified:ci", "other": "x", "sluice.unknown": "y"}
    found = dict(facts_of(made, "model", tags))
    assert (found["license"], found["signature"]) == ("ours", "verified:ci")
    assert "unknown" not in found
    assert dict(facts_of_tags({"sluice.reviewed_by": "kim"})) == {"reviewed_by": "kim"}


def test_a_licence_with_a_name(tmp_path: Path) -> None:
    card = "---\nlicense: other\nlicense_name: llama3.1\n---\n"
    assert dict(facts_of(folder(tmp_path, README__md=card), "model"))["license"] == "llama3.1"


UNREADABLE = (
    "",
    "# no front matter",
    "---\nlicense: [a\n---\n",
    "---\n- a\n---\n",
    "---\nlicense: &a [*a]\n---\n",
    "---\nlicense: 3\n---\n",
    "---\na: &a [1]\nb: [*a,*a]\nlicense: mit\n---\n",
    "---\nlicense: mit",
    "---\nlicense: !!python/object:os.system x\n---\n",
)


@pytest.mark.parametrize("card", UNREADABLE)
def test_a_card_that_cannot_be_read_says_nothing(tmp_path: Path, card: str) -> None:
    assert "license" not in dict(facts_of(folder(tmp_path, README__md=card), "model"))


@pytest.mark.parametrize("config", ["", "[", "[]", '{"r": "8"}', '{"r": true}', '{"base_model_name_or_path": 3}'])
def test_a_configuration_that_cannot_be_read_says_nothing(tmp_path: Path, config: str) -> None:
    found = dict(facts_of(folder(tmp_path, adapter_config__json=config), "adapter"))
    assert found.keys() <= {"formats"}


def test_values_are_short_single_lines_without_secrets(tmp_path: Path) -> None:
    long = "x " * 500
    found = dict(facts_of_tags({"sluice.validation": f"a\nb\t{long}", "sluice.base": "ghp_" + "a1B2" * 9}))
    assert found["validation"].startswith("a b x x")
    assert len(found["validation"]) <= 200
    assert "a1B2a1B2" not in found["base"]


def test_a_prompt_and_what_is_no_folder_have_no_files(tmp_path: Path) -> None:
    made = folder(tmp_path, README__md=CARD)
    assert facts_of(made, "prompt") == ()
    assert facts_of(made / "README.md", "guardrails") == ()
