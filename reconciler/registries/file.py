"""The registry of `file:` references: a file or folder on this machine, known by a digest over its content.

Imports the ports and its siblings; `reconciler.registries.select` makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from environments.errors import SluiceError
from environments.refs import FileRef, Ref, parse_ref
from reconciler.core.release import Artifact, Lineage
from reconciler.ports import Resolved
from reconciler.registries.copies import Copies
from reconciler.registries.digests import DigestCache, content_digest

DIGESTS = "digests.json"


class FileRegistry:
    """A `reconciler.ports.Registry`. Relative paths begin at `root`, the folder that holds `environments/`."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root = root
        self._cache = home / "cache" / DIGESTS
        self._copies = Copies(home / "cache" / "artifacts", self._cache)

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return the digest; for a prompt its text as well, exactly as it stands in the file."""
        if not isinstance(ref, FileRef):
            raise TypeError(f"{ref} is not a file reference")
        return await asyncio.to_thread(self._resolve, ref, kind)

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Do nothing: files have no aliases."""
        return None

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return a copy of the folder with this digest, made now unless there is one: its source may be written over.

        Raises:
            SluiceError: `REG-003`, `REG-006` neither source nor copy has the digest.
        """
        source = self._path(parse_ref(artifact.ref))
        return await asyncio.to_thread(self._copies.take, artifact, source, kind=kind)

    async def keep(self, digests: Collection[str]) -> None:
        """Delete copies of other digests, but for some that were used last."""
        await asyncio.to_thread(self._copies.keep, digests)

    def _path(self, ref: Ref) -> Path:
        if not isinstance(ref, FileRef):
            raise TypeError(f"{ref} is not a file reference")
        return self._root / ref.path

    def _resolve(self, ref: FileRef, kind: str) -> Resolved:
        path = self._path(ref)
        try:
            if not path.exists():
                raise _absent(ref, path)
            text = _text(ref, path) if kind == "prompt" else None
            digest = content_digest(path, DigestCache(self._cache), ref=str(ref), kind=kind)
        except OSError as error:
            raise SluiceError(
                "REG-003",
                where=str(ref),
                what=f"{path} could not be read",
                why=str(error),
                do="allow this user to read it",
                retryable=True,
            ) from error
        return Resolved(Artifact(str(ref), digest), Lineage(source=str(ref)), text)


def _text(ref: FileRef, path: Path) -> str:
    if path.is_dir():
        raise SluiceError(
            "REG-001",
            where=str(ref),
            what=f"{path} is a folder, not a prompt",
            do="name the text file that holds the prompt",
        )
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise SluiceError(
            "REG-001", where=str(ref), what=f"{path} is not a text in UTF-8", why=str(error), do="save it as UTF-8"
        ) from error


def _absent(ref: FileRef, path: Path) -> SluiceError:
    here = path.parent
    names = sorted(p.name for p in here.iterdir())[:8] if here.is_dir() else []
    return SluiceError(
        "REG-001",
        where=str(ref),
        what=f"there is no {path}",
        why=f"{here} holds: {', '.join(names) or 'nothing'}" if here.is_dir() else f"{here} is not there either",
        do="correct the path; a relative one begins at the folder that holds environments/",
    )
