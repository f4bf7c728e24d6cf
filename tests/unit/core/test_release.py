"""A release says what it is made of, keeps it through JSON, and is refused when it was changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from reconciler.core.canonical import canonical_json
from reconciler.core.model.release import Artifact, Lineage, Release, release_from_json, release_to_json
from tests.support.builders.releases import release

FULL = Release(
    endpoint="chat",
    runtime="vllm",
    model=Artifact("file:m", "sha256:0123456789abcdef"),
    engine={"max_model_len": 2048, "quantization": "fp8"},
    prompts={"system": Artifact("file:p", "sha256:aa")},
    adapters={"law": Artifact("file:l", "sha256:bb")},
    index={"ref": "file:i", "digest": "sha256:cc", "max_age_h": 24},
    guardrails=Artifact("file:g", ""),
    lineage={"model": Lineage("run-1", "git", ("a", "b"))},
    prompt_texts={"system": "Be kind."},
)
IDENTITY = {
    "endpoint": "chat",
    "runtime": "vllm",
    "model": {"ref": "file:m", "digest": "sha256:0123456789abcdef"},
    "engine": {"max_model_len": 2048, "quantization": "fp8"},
    "prompts": {"system": {"ref": "file:p", "digest": "sha256:aa"}},
    "adapters": {"law": {"ref": "file:l", "digest": "sha256:bb"}},
    "index": {"ref": "file:i", "digest": "sha256:cc", "max_age_h": 24},
    "guardrails": {"ref": "file:g", "digest": ""},
}


def test_what_is_hashed_is_the_content_alone() -> None:
    assert FULL.identity() == IDENTITY
    assert replace(FULL, lineage={}, prompt_texts={}).id == FULL.id
    compact = json.dumps(IDENTITY, sort_keys=True, separators=(",", ":"))
    assert FULL.id == f"chat-{hashlib.sha256(compact.encode()).hexdigest()[:10]}"
    assert release("größe").identity()["model"]["ref"] in canonical_json(release("größe").identity())


def test_what_a_person_reads_of_it() -> None:
    assert list(FULL.fields().items()) == [
        ("adapters.law", "file:l (bb)"),
        ("engine.max_model_len", "2048"),
        ("engine.quantization", '"fp8"'),
        ("guardrails", "file:g"),
        ("index.digest", "sha256:cc"),
        ("index.max_age_h", "24"),
        ("index.ref", "file:i"),
        ("model", "file:m (0123456789)"),
        ("prompts.system", "file:p (aa)"),
        ("runtime", "vllm"),
    ]
    assert release("v1").fields() == {"model": "file:models/v1 (v1)", "runtime": "vllm"}


def test_its_json_holds_all_of_it() -> None:
    data = release_to_json(FULL)
    assert data == {
        **IDENTITY,
        "id": FULL.id,
        "lineage": {"model": {"run_id": "run-1", "source": "git", "datasets": ["a", "b"]}},
        "prompt_texts": {"system": "Be kind."},
    }
    read = release_from_json(json.loads(json.dumps(data)))
    assert read == FULL
    assert (read.lineage, read.prompt_texts) == (FULL.lineage, FULL.prompt_texts)


def test_what_earlier_versions_left_out_is_empty() -> None:
    read = release_from_json(IDENTITY)
    assert (read, read.lineage, read.prompt_texts) == (FULL, {}, {})
    older = release_from_json({**IDENTITY, "lineage": {"model": {"path": "x"}}})
    assert older.lineage == {"model": Lineage(None, None, ())}


def test_a_release_that_was_changed_is_refused() -> None:
    data = release_to_json(FULL) | {"runtime": "triton"}
    with pytest.raises(ValueError, match=f"^release {FULL.id} was changed: its content hashes to chat-[0-9a-f]{{10}}$"):
        release_from_json(data)
