"""Copies of what a reference pins for good, downloaded once and whole or not at all: commits of a hub, versions in S3.

Imports its siblings; the registries of the hub and of S3 use it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from environments.errors import SluiceError
from environments.refs import Ref
from reconciler.core.model.release import Artifact, Lineage
from reconciler.registries.artifacts import changed_copy, locked, recall, remember
from reconciler.registries.digests import DigestCache, content_digest
from reconciler.registries.facts import facts_of
from reconciler.registries.file import DIGESTS
from reconciler.registries.safety import check_names
from reconciler.registries.sizes import model_facts

Fill = Callable[[Path], Awaitable[None]]
"""Downloads into a folder that is empty."""


class Downloads:
    """The copies below `home`. A copy is found by its reference, which never means anything else."""

    def __init__(self, home: Path) -> None:
        self._cache = home / "cache"

    async def digest(self, ref: Ref, kind: str, fill: Fill) -> str:
        """Return the digest of a reference's content, downloaded unless it is here.

        Raises:
            SluiceError: `REG-002` refused, or the copy was changed since; `REG-003`; and what `fill` raises.
        """
        folder = await self._fetched(ref, fill)
        found = await asyncio.to_thread(self._hash, ref, kind, folder)
        known = recall(folder)
        if known is None:
            remember(folder, {"ref": str(ref), "digest": found, "datasets": []})
        elif known["digest"] != found:
            raise changed_copy(ref, folder)
        return found

    async def lineage(self, ref: Ref, kind: str) -> Lineage:
        """Return what the copy's own files say of it: licence and card, size and shape. Call it after `digest`."""
        folder = self._place(ref)
        facts = await asyncio.to_thread(facts_of, folder, kind)
        return Lineage(source=str(ref), facts=facts, size=await asyncio.to_thread(model_facts, folder, kind))

    async def folder(self, ref: Ref, artifact: Artifact, kind: str, fill: Fill) -> Path:
        """Return the copy that has an artifact's digest.

        Raises:
            SluiceError: `REG-006` the reference has another content; and what `digest` raises.
        """
        found = await self.digest(ref, kind, fill)
        if found != artifact.digest:
            raise SluiceError(
                "REG-006",
                where=str(ref),
                what="the content that was planned is not to be had",
                why=f"what the reference leads to has the digest {found}, not {artifact.digest}",
                do="declare what is there now and plan again",
            )
        return self._place(ref)

    async def text(self, ref: Ref, fill: Fill) -> str:
        """Return the text of the only file of a reference.

        Raises:
            SluiceError: `REG-001` it is not one file of text; and what `digest` raises.
        """
        folder = await self._fetched(ref, fill)
        files = [path for path in folder.rglob("*") if path.is_file()]
        try:
            (only,) = files
            return only.read_text("utf-8")
        except (ValueError, UnicodeDecodeError) as error:
            raise SluiceError(
                "REG-001",
                where=str(ref),
                what="this is not one file of text in UTF-8",
                why=f"it holds {len(files)} files" if len(files) != 1 else str(error),
                do="name the object that holds the prompt",
            ) from error

    async def _fetched(self, ref: Ref, fill: Fill) -> Path:
        folder = self._place(ref)
        folder.parent.mkdir(parents=True, exist_ok=True)
        async with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():
                part = folder.with_name(f"{folder.name}.part")
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                await fill(part)
                part.replace(folder)
        return folder.absolute()

    def _place(self, ref: Ref) -> Path:
        mark = hashlib.sha256(str(ref).encode()).hexdigest()[:16]
        return (self._cache / "models" / f"{str(ref).partition(':')[0]}-{mark}").absolute()

    def _hash(self, ref: Ref, kind: str, folder: Path) -> str:
        return content_digest(folder, DigestCache(self._cache / DIGESTS), ref=str(ref), kind=kind)


def target(ref: Ref, part: Path, name: str) -> Path:
    """Return where a file of a download goes, with its folder made.

    Raises:
        SluiceError: `REG-002` the name leads out of the folder.
    """
    check_names(str(ref), [name])
    path = part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def settle(path: Path) -> None:
    """Make a file's content last, and let nobody write to it any more."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.chmod(0o444)


def unstored(ref: Ref, part: Path, error: OSError) -> SluiceError:
    """Return that this machine could not keep what it was sent."""
    return SluiceError(
        "REG-003",
        where=str(ref),
        what="a file could not be stored",
        why=str(error),
        do=f"make room for it under {part.parent}",
        retryable=True,
    )


def cut_short(ref: Ref, name: str, why: str) -> SluiceError:
    """Return that what came is not what was announced."""
    return SluiceError(
        "REG-003",
        where=str(ref),
        what=f"{name} did not come whole: {why}",
        do="run the same command again",
        retryable=True,
    )
