"""The files that gates are made of, as one digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from reconciler.core.canonical import digest


def digest_of_files(paths: Sequence[Path]) -> str:
    """Return `sha256:…` over the content of the files, in the order given; their names do not matter."""
    return digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])
