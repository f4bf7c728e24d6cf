"""The registry of `file:` references: a file or folder on this machine, known by a digest over its content.

Imports the ports and its siblings; `reconciler.registries.select` makes one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from environments.errors import SluiceError
from environments.files import readable_file, real_file, roots_of
from environments.refs import FileRef, Ref, parse_ref
from reconciler.core.model.release import Artifact, Lineage
from reconciler.ports import Resolved
from reconciler.registries.copies import Copies
from reconciler.registries.digests import DigestCache, content_digest
from reconciler.registries.facts import facts_of
from reconciler.registries.sizes import model_facts

DIGESTS = "digests.json"
_WEIGHTS = ("model", "adapter", "repository")
_PROMPT_MAX = 1_000_000


class FileRegistry:
    """A `reconciler.ports.Registry`. Relative paths begin at `root`, the folder that holds `environments/`."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root = root
        self._cache = home / "cache" / DIGESTS
        self._copies = Copies(home / "cache" / "artifacts", self._cache)

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return the digest; for a prompt its text as well, exactly as it stands in the file.

        Raises:
            SluiceError: `FILE-001` to `FILE-003` what may not be read, `REG-001` to `REG-003`.
        """
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
        ref = parse_ref(artifact.ref)
        if not isinstance(ref, FileRef):
            raise TypeError(f"{ref} is not a file reference")
        source, _ = self._place(ref, kind)
        return await asyncio.to_thread(self._copies.take, artifact, source, kind=kind)

    async def keep(self, digests: Collection[str]) -> None:
        """Delete copies of other digests, but for some that were used last."""
        await asyncio.to_thread(self._copies.keep, digests)

    def _resolve(self, ref: FileRef, kind: str) -> Resolved:
        path, is_shown = self._place(ref, kind)
        try:
            if not path.exists():
                raise _absent(ref, path)
            text = _text(ref, path) if kind == "prompt" else None
            digest = content_digest(path, DigestCache(self._cache), ref=str(ref), kind=kind)
        except SluiceError as error:
            raise error if is_shown else _without_contents(error) from None
        except OSError as error:
            raise SluiceError(
                "REG-003",
                where=str(ref),
                what=f"{path} could not be read",
                why=str(error),
                do="allow this user to read it",
                retryable=True,
            ) from error
        facts = facts_of(path, kind) if is_shown else None
        lineage = Lineage(source=str(ref), facts=facts, size=model_facts(path, kind))
        return Resolved(Artifact(str(ref), digest), lineage, text)

    def _place(self, ref: FileRef, kind: str) -> tuple[Path, bool]:
        """Return where a reference leads, and whether errors may say what is there.

        Weights may lie anywhere, because nothing of them but a digest and the numbers of their shape reaches a plan;
        the rest stays below the root.
        """
        try:
            if kind in _WEIGHTS:
                path = real_file(self._root, ref.path)
                return path, any(path.is_relative_to(root) for root in roots_of(self._root))
            return readable_file(self._root, ref.path), True
        except SluiceError as error:
            p = error.problem
            raise SluiceError(error.code, where=str(ref), what=p.what, why=p.why, do=p.do) from None


def _without_contents(error: SluiceError) -> SluiceError:
    """Return the error without the names that it lists of a folder which the environment may not show."""
    p = error.problem
    return SluiceError(error.code, where=p.where, what=p.what, do=p.do, retryable=error.retryable)


def _text(ref: FileRef, path: Path) -> str:
    if path.is_dir():
        raise SluiceError(
            "REG-001",
            where=str(ref),
            what=f"{path} is a folder, not a prompt",
            do="name the text file that holds the prompt",
        )
    if path.stat().st_size > _PROMPT_MAX:
        raise SluiceError(
            "REG-001",
            where=str(ref),
            what=f"{path} is larger than {_PROMPT_MAX:,} bytes",
            do="name the file of a prompt",
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
