"""Policies over adapters: made for this base, of a rank that the server takes, and not more than it keeps. Pure.

Listed in `policies.catalog`. Source: vLLM 0.32, `vllm/config/lora.py` (max_lora_rank 16, max_loras 1, max_cpu_loras as
many as max_loras unless they are set).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from environments.spec import EndpointSpec
from policies.facts import ArtifactFacts
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, levels

RANK_DEFAULT = 16
LORAS_DEFAULT = 1
_PINNED = re.compile(r"(mlflow|hf|s3|file|sha256):.+")


def base(context: PlanContext) -> Iterator[Hit]:
    """Find adapters that were made for another model."""
    for address, _, path, adapter in _adapters(context, "the base"):
        if isinstance(adapter, NotKnown):
            yield address, adapter
            continue
        model = context.known().releases[address.rpartition("/")[2]].artifacts.get("model")
        made_for, names = _known(adapter).get("base"), _names(model)
        if not made_for:
            yield address, NotKnown(f"which model release.{path} was made for", "its registry does not say so")
        elif made_for not in names:
            shown = ", ".join(sorted(names)) or "a model without a name"
            if _PINNED.fullmatch(made_for) or (model and _known(model).get("name")):
                yield address, f"release.{path} was made for {made_for}, and the model is {shown}"
            else:
                yield address, NotKnown(f"whether {made_for}, which release.{path} was made for, is {shown}", _NAMELESS)


_NAMELESS = "the model does not say what it is called"


def rank(context: PlanContext) -> Iterator[Hit]:
    """Find adapters whose rank is more than the server was told to take: it would refuse them."""
    for address, endpoint, path, adapter in _adapters(context, "the rank"):
        if isinstance(adapter, NotKnown):
            yield address, adapter
            continue
        said, limit = _known(adapter).get("rank", ""), endpoint.release.engine.get("max_lora_rank", RANK_DEFAULT)
        if not said.isdigit() or not isinstance(limit, int):
            yield address, NotKnown(f"the rank of release.{path}", "its registry says no number")
        elif int(said) > limit:
            yield address, f"release.{path} has rank {said}; engine.max_lora_rank is {limit}"


def count(context: PlanContext) -> Iterator[Hit]:
    """Find releases with more adapters than their servers keep in memory."""
    for address, endpoint in context.each():
        engine, adapters = endpoint.release.engine, len(endpoint.release.adapters)
        kept = engine.get("max_cpu_loras", engine.get("max_loras", LORAS_DEFAULT))
        if endpoint.runtime == "vllm" and isinstance(kept, int) and adapters > kept:
            yield address, f"the release has {adapters} adapters, and its servers keep {kept} (engine.max_cpu_loras)"


def _adapters(context: PlanContext, what: str) -> Iterator[tuple[str, EndpointSpec, str, ArtifactFacts | NotKnown]]:
    """Yield every adapter of what moves, or why nothing is known of it."""
    for address, endpoint in context.moving():
        release = context.known().releases.get(address.rpartition("/")[2])
        for name in sorted(endpoint.release.adapters):
            path = f"adapters.{name}"
            found = release.artifacts.get(path) if release else None
            if found is None:
                why = NotKnown(f"{what} of release.{path}", "its reference could not be resolved")
                yield address, endpoint, path, why
            elif isinstance(found.known, str):
                yield address, endpoint, path, NotKnown(f"{what} of release.{path}", found.known)
            else:
                yield address, endpoint, path, found


def _known(artifact: ArtifactFacts) -> dict[str, str]:
    return artifact.known if isinstance(artifact.known, dict) else {}


def _names(model: ArtifactFacts | None) -> set[str]:
    if model is None:
        return set()
    return {name for name in (model.ref, model.digest, _known(model).get("name", "")) if name}


POLICIES = (
    Policy(
        "ADP-001", "Adapters fit their base", "an adapter on another base answers nonsense, in fluent sentences",
        "use the adapter that was made for this model, or say so with the tag sluice.base", OnPlan(base, needs=True),
        levels(dev="warn", staging="deny", prod="deny"), "release.adapters", unknown="info",
    ),
    Policy(
        "ADP-002", "Adapters are of a rank that the server takes", "the server would refuse to load them",
        "raise engine.max_lora_rank, or use an adapter of a smaller rank", OnPlan(rank, needs=True),
        levels(dev="deny", staging="deny", prod="deny"), "release.engine", unknown="info",
    ),
    Policy(
        "ADP-003", "Servers keep all adapters", "what does not fit is read from disk while a user waits",
        "raise engine.max_cpu_loras to the number of adapters", OnPlan(count),
        levels(dev="info", staging="warn", prod="deny"), "release.engine",
    ),
)  # fmt: skip
