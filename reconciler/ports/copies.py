"""Where servers stream models from: copies in a bucket, each below its digest and never half to be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.core.model.copies import Manifest
from reconciler.core.model.release import Artifact


@dataclass(frozen=True)
class Pushed:
    """A model that lies whole in a bucket. Bytes of all its files, and how many files and bytes were sent now."""

    address: str
    files: int
    bytes: int
    sent_files: int
    sent_bytes: int


class CopiesReader(Protocol):
    """Reads one bucket of copies."""

    async def manifest(self, digest: str) -> Manifest | None:
        """Return what lies below a digest, None where nothing lies there whole.

        Raises:
            SluiceError: `REG-003` (retryable) the bucket cannot be read, `REG-009`.
        """
        ...


class CopiesWriter(Protocol):
    """Writes one bucket of copies; every verb can be called again."""

    async def push(self, artifact: Artifact, folder: Path, *, told: Callable[[str, int], None]) -> Pushed:
        """Copy a folder below its digest, verify every file there, and only then say that it is there.

        What is there already with the same content is not sent again. `told` hears a file's name and how many more
        bytes of it have been sent, from other threads.

        Raises:
            SluiceError: `REG-003` (retryable) the bucket refuses, `REG-006` the folder has another digest, `REG-008`
                what lies there is not what was sent, `REG-009`.
        """
        ...


class ModelCopies(CopiesReader, CopiesWriter, Protocol):
    """One bucket, read and written."""


CopiesAt = Callable[[str], CopiesReader]
"""From an address (`s3://BUCKET/PREFIX`) to what lies there."""
