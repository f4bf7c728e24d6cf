"""What the reconciler writes on its own objects, so that whoever looks later knows what runs there. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from environments.names import LABEL_PREFIX, SLOTS
from reconciler.core.canonical import Json, canonical_json
from reconciler.core.model.release import Release, release_from_json, release_to_json

PREFIX = f"{LABEL_PREFIX}/"
FENCE = f"{LABEL_PREFIX}/fence"
"""The highest token of a lease that has acted on the object's endpoint."""
RELEASE = f"{LABEL_PREFIX}/release-json"
WARM = f"{LABEL_PREFIX}/warm"
"""The servers of a slot that were warmed up, as `POD:RESTARTS`: one that restarts is not among them any more."""
ADDRESS = f"{LABEL_PREFIX}/address"


def serving(slot: str) -> str:
    """Return the annotation of a route that holds the release of a slot with weight, should its servers vanish."""
    return f"{LABEL_PREFIX}/release-json-{slot}"


def notes_of(body: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return an object's annotations; none of no object."""
    return ((body or {}).get("metadata") or {}).get("annotations") or {}


def ours(body: Mapping[str, Any] | None) -> bool:
    """Return whether the reconciler made an object."""
    return ADDRESS in notes_of(body)


def fence_of(*bodies: Mapping[str, Any] | None) -> int:
    """Return the highest token on these objects, 0 where none has one; what is no number is no token."""
    found = (notes_of(body).get(FENCE, "") for body in bodies)
    return max((int(text) for text in found if text.isdigit()), default=0)


def release_text(release: Release) -> str:
    """Return a release as the text of an annotation."""
    return canonical_json(release_to_json(release))


def release_of(text: str | None) -> Release | None:
    """Return the release in an annotation, None where there is none.

    Raises:
        ValueError: it was changed, or is no release.
    """
    if not text:
        return None
    try:
        data: Json = json.loads(text)
        return release_from_json(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a release: {error}") from error


def serving_texts(body: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the releases that a route remembers, as text by slot."""
    known = notes_of(body)
    return {slot: known[serving(slot)] for slot in SLOTS if serving(slot) in known}


def warm_servers(body: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the servers, as `POD:RESTARTS`, that were warmed up in a slot."""
    return frozenset(notes_of(body).get(WARM, "").split())
