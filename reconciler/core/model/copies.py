"""What says that a model lies whole in a bucket: one object, written last, that lists every file's hash. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.core.canonical import canonical_json, digest

SCHEMA = "sluice/model/v1"


@dataclass(frozen=True, order=True)
class CopiedFile:
    """One file of a model: its path in the model's folder, its size in bytes, the hex SHA-256 of its content."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a model, and the reference by which it was copied. Its digest is that of the model's folder."""

    ref: str
    files: tuple[CopiedFile, ...]

    @property
    def digest(self) -> str:
        """Return the digest of a folder with these files, as a registry computes it."""
        return folder_digest(self.files)


def folder_digest(files: Iterable[CopiedFile]) -> str:
    """Return the digest over names and hashes, as registries have it of a folder."""
    return digest([[file.name, file.sha256] for file in sorted(files)])


def folder_key(prefix: str, found: str) -> str:
    """Return the key below which a model's files lie, with a slash at its end; `prefix` may be empty."""
    return f"{_inside(prefix)}{found.removeprefix('sha256:')}/"


def manifest_key(prefix: str, found: str) -> str:
    """Return the key of a model's manifest: beside its folder, so that no server loads it with the model."""
    return f"{_inside(prefix)}{found.removeprefix('sha256:')}.json"


def manifest_text(manifest: Manifest) -> str:
    """Return a manifest as it is stored."""
    files = [vars(file) for file in sorted(manifest.files)]
    return canonical_json({"schema": SCHEMA, "ref": manifest.ref, "digest": manifest.digest, "files": files})


def manifest_of(text: str | bytes) -> Manifest:
    """Return a stored manifest.

    Raises:
        ValueError: it is none, or was changed since.
    """
    try:
        data = json.loads(text)
        files = (CopiedFile(str(f["name"]), int(f["size"]), str(f["sha256"])) for f in data["files"])
        found, said = Manifest(str(data["ref"]), tuple(sorted(files))), data["digest"]
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a manifest: {error!r}") from error
    if said != found.digest:
        raise ValueError(f"it says {said} and lists files of {found.digest}")
    return found


def _inside(prefix: str) -> str:
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""
