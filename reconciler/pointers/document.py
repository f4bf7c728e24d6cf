"""A flag document and its change: tokens that it has seen, flags that are ours and others that stay. Pure."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.pointers.flags import SCHEMA, fenced, fences_of, flags_of, is_ours
from reconciler.ports import ReleaseSplit


def empty() -> Json:
    """Return a document without flags."""
    return {"$schema": SCHEMA, "flags": {}, "metadata": {}}


def document(content: Any) -> Json:
    """Return a flag document that can be added to.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not isinstance(content, dict) or not isinstance(content.get("flags"), dict):
        raise ValueError("it has no object `flags`")
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError("its `metadata` is not an object")
    fences_of(metadata)
    return content | {"metadata": metadata}


def changed(content: Json, endpoint: str, split: ReleaseSplit | None, *, fence: int, where: str) -> Json:
    """Return a document with another split of one endpoint, or without any; `where` is for whoever reads an error.

    Raises:
        SluiceError: `LEASE-002` a newer owner has published, `PTR-003` a flag of ours would replace one that is not.
    """
    _check_fence(where, content, endpoint, fence)
    kept = {key: flag for key, flag in content["flags"].items() if not is_ours(flag, endpoint)}
    ours = flags_of(split) if split else {}
    _check_names(where, kept.keys() & ours.keys())
    return content | {"flags": kept | ours, "metadata": fenced(content["metadata"], endpoint, fence)}


def check_split(endpoint: str, split: ReleaseSplit) -> None:
    """Refuse a split that would make a document in which users are lost or shared wrongly: a mistake of the caller."""
    releases = [drawn.release for drawn in split.releases]
    total = sum(drawn.share_pct for drawn in split.releases)
    if split.endpoint != endpoint or not releases or len(set(releases)) != len(releases):
        raise ValueError(f"not a split of {endpoint}: {split}")
    if abs(total - 100) > 1e-6 or any(drawn.share_pct < 0 for drawn in split.releases):
        raise ValueError(f"the shares of {split.endpoint} add up to {total}, not to 100")


def damaged(where: str, why: str) -> SluiceError:
    """Return the error that says that a document is none."""
    return SluiceError(
        "PTR-002",
        where=where,
        what="the flag document is damaged, so nothing is published to it",
        why=why[:200],
        do="mend its JSON, or move it away: what Sluice published is then published anew, and other flags are yours to"
        " bring back",
    )


def _check_fence(where: str, content: Json, endpoint: str, fence: int) -> None:
    seen = fences_of(content["metadata"]).get(endpoint, 0)
    if fence < seen:
        raise SluiceError(
            "LEASE-002",
            where=where,
            what=f"refused to publish the prompts of {endpoint} with token {fence}",
            why=f"an owner with token {seen} has published since; one that slept past its lease must not write",
            do="run the same command again: it attaches to the rollout or says who owns it",
        )


def _check_names(where: str, taken: Set[str]) -> None:
    if taken:
        raise SluiceError(
            "PTR-003",
            where=where,
            what=f"the flag {min(taken)} is there already and is not Sluice's",
            why="Sluice writes a flag of this name, and never over one that somebody else has put there",
            do="rename that flag, or the prompt or endpoint in the environment file",
        )
