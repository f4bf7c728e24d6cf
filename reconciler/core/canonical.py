"""Canonical JSON and digests: the same data gives the same bytes. Pure; used by everything that is hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

Json = dict[str, Any]


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, no spaces and no NaN, so that equal data has equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """Return `sha256:` and the hex SHA-256 over the canonical JSON of `value`."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()
