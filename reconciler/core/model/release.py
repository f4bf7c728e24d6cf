"""Releases: immutable, content-hashed sets of model, adapters, prompts, index, guardrails, arguments. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reconciler.core.canonical import Json, canonical_json
from reconciler.core.model.model_facts import ModelFacts, facts_from_json, facts_to_json

_MODEL_KINDS = {"triton": "repository"}


def kind_of_model(runtime: str) -> str:
    """Return as what a registry knows a runtime's models: weights with their configuration, or what Triton serves."""
    return _MODEL_KINDS.get(runtime, "model")


@dataclass(frozen=True, order=True)
class Artifact:
    """A resolved reference: what it is called and the digest (`sha256:…`) of what it holds."""

    ref: str
    digest: str


@dataclass(frozen=True)
class Lineage:
    """Where an artifact came from, for people and audits; never part of a release's identity, the same everywhere.

    `facts` is what its registry says of it (licence, card, rank…), sorted by name; None where nobody looked.
    `size` is what a model's files say of its size; it follows from its digest and compares nothing.
    """

    run_id: str | None = None
    source: str | None = None
    datasets: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] | None = field(default=None, compare=False)
    size: ModelFacts | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Release:
    """What can run in a slot. Two releases with equal content are the same release and have the same id.

    `engine` holds the runtime's own argument names in snake_case. `lineage` and the text of prompts ride along
    and are not hashed: an artifact's digest already stands for its content.
    """

    endpoint: str
    runtime: str
    model: Artifact
    engine: Mapping[str, Any] = field(default_factory=dict)
    prompts: Mapping[str, Artifact] = field(default_factory=dict)
    adapters: Mapping[str, Artifact] = field(default_factory=dict)
    index: Mapping[str, Any] | None = None
    guardrails: Artifact | None = None
    lineage: Mapping[str, Lineage] = field(default_factory=dict, compare=False)
    prompt_texts: Mapping[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def id(self) -> str:
        """Return `ENDPOINT-` and the first 10 hex digits of the SHA-256 over the canonical JSON."""
        return f"{self.endpoint}-{hashlib.sha256(canonical_json(self.identity()).encode()).hexdigest()[:10]}"

    def identity(self) -> Json:
        """Return the JSON that is hashed.

        A field that is added later stands here only where it is set: else every stored release would have another id.
        """
        return {
            "endpoint": self.endpoint,
            "runtime": self.runtime,
            "model": _artifact_json(self.model),
            "engine": dict(self.engine),
            "prompts": {name: _artifact_json(a) for name, a in self.prompts.items()},
            "adapters": {name: _artifact_json(a) for name, a in self.adapters.items()},
            "index": None if self.index is None else dict(self.index),
            "guardrails": None if self.guardrails is None else _artifact_json(self.guardrails),
        }

    def fields(self) -> dict[str, str]:
        """Return the content as flat `path: text` pairs, which a diff compares and a person reads."""
        flat = {"runtime": self.runtime, "model": _artifact_text(self.model)}
        flat |= {f"engine.{k}": canonical_json(v) for k, v in self.engine.items()}
        flat |= {f"prompts.{k}": _artifact_text(v) for k, v in self.prompts.items()}
        flat |= {f"adapters.{k}": _artifact_text(v) for k, v in self.adapters.items()}
        flat |= {f"index.{k}": str(v) for k, v in (self.index or {}).items()}
        if self.guardrails:
            flat["guardrails"] = _artifact_text(self.guardrails)
        return dict(sorted(flat.items()))


def release_to_json(release: Release) -> Json:
    """Return JSON from which `release_from_json` makes an equal release."""
    lineage = {key: _lineage_json(found) for key, found in release.lineage.items()}
    return {**release.identity(), "id": release.id, "lineage": lineage, "prompt_texts": dict(release.prompt_texts)}


def release_from_json(data: Json) -> Release:
    """Return the release that `release_to_json` wrote.

    Raises:
        ValueError: the content does not hash to the id that stands beside it.
    """
    release = Release(
        endpoint=data["endpoint"],
        runtime=data["runtime"],
        model=Artifact(**data["model"]),
        engine=data["engine"],
        prompts={k: Artifact(**v) for k, v in data["prompts"].items()},
        adapters={k: Artifact(**v) for k, v in data["adapters"].items()},
        index=data["index"],
        guardrails=Artifact(**data["guardrails"]) if data["guardrails"] else None,
        lineage={k: _lineage(v) for k, v in data.get("lineage", {}).items()},
        prompt_texts=data.get("prompt_texts", {}),
    )
    if data.get("id", release.id) != release.id:
        raise ValueError(f"release {data['id']} was changed: its content hashes to {release.id}")
    return release


def _lineage_json(lineage: Lineage) -> Json:
    told: Json = {"run_id": lineage.run_id, "source": lineage.source, "datasets": list(lineage.datasets)}
    told |= {} if lineage.facts is None else {"facts": dict(lineage.facts)}
    return told | ({"size": facts_to_json(lineage.size)} if lineage.size else {})


def _lineage(data: Json) -> Lineage:
    """Return the lineage in JSON; earlier versions wrote a `path` of one machine into it, which is passed over."""
    facts = data.get("facts")
    kept = None if facts is None else tuple(sorted(facts.items()))
    size = facts_from_json(data.get("size"))
    return Lineage(data.get("run_id"), data.get("source"), tuple(data.get("datasets", ())), kept, size)


def _artifact_json(artifact: Artifact) -> Json:
    return {"ref": artifact.ref, "digest": artifact.digest}


def _artifact_text(artifact: Artifact) -> str:
    return f"{artifact.ref} ({artifact.digest.removeprefix('sha256:')[:10]})" if artifact.digest else artifact.ref
