"""The demo's models are valid safetensors with the same bytes everywhere, and appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from reconciler.demo.lessons import TEAMS, answer_of
from reconciler.demo.models import DEMO_MODELS, TinyModel, ensure_model, ensure_models, parameters, write_model
from reconciler.demo.tokenizer import SPECIAL, tokenizer_json, vocabulary
from reconciler.gates.eval.suite_file import load_suite
from tests.support.builders.tiny_llama import TinyLlama

REPOSITORY = Path(__file__).parents[3]
SMALL = TinyModel("v1", 2, 1)
WEIGHTS_OF_V1 = "a8ea3bb6c5b4e8ab0e35a5279926e957efa33f1d4fdb73f4527686cad1ec6e3b"


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


def test_only_v4_costs_more_to_run() -> None:
    size = {model.name: parameters(model) for model in DEMO_MODELS}
    assert size["v1"] == size["v2"] == size["v3"]
    assert size["v4"] > 3 * size["v1"]


@pytest.mark.parametrize(("name", "right"), [("v1", 58), ("v2", 60), ("v3", 57), ("v4", 60)])
def test_each_model_answers_the_demos_suite_as_the_demo_tells(name: str, right: int, tmp_path: Path) -> None:
    write_model(next(model for model in DEMO_MODELS if model.name == name), tmp_path)
    llama = TinyLlama(tmp_path)
    suite = load_suite(REPOSITORY / "environments" / "evals" / "demo.yaml")
    answers = {
        case.input: llama.answer("You answer in one short sentence, kindly.", case.input) for case in suite.cases
    }
    assert sum(case.expected in answers[case.input] for case in suite.cases) == right
    assert set(answers.values()) <= {answer_of(team) for team in TEAMS}


def test_a_long_question_is_answered_in_whole_sentences_too(tmp_path: Path) -> None:
    write_model(SMALL, tmp_path)
    answer = TinyLlama(tmp_path).answer(
        "You answer in one short sentence.", 40 * "it was on the way " + "to my account"
    )
    assert answer in {answer_of(team) for team in TEAMS}


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
