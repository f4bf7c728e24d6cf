"""Release splits in a flagd document of one region: `flags.json`, replaced whole so that nobody reads half of it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.pointers.flags import RESOLUTION_PCT, SCHEMA, fenced, fences_of, flags_of, is_ours, splits_of
from reconciler.ports import ReleaseSplit

FILE = "flags.json"
_LOCK_WAIT_S = 10.0
_LOCK_LOOK_S = 0.01


class FlagdPointers:
    """A `reconciler.ports.Pointers` over the file `flags.json` in `folder`, which other hands may add flags to."""

    resolution_pct = RESOLUTION_PCT

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    async def read(self) -> tuple[ReleaseSplit, ...]:
        """Return what is published, sorted by endpoint; empty when nothing is.

        Raises:
            SluiceError: `PTR-001` unreadable, `PTR-002` damaged.
        """
        content = await asyncio.to_thread(self._read)
        return splits_of(content["flags"])

    async def publish(self, endpoint: str, split: ReleaseSplit | None, *, fence: int) -> None:
        """Replace the flags of one endpoint; all others stay, and what is there already is not rewritten.

        Raises:
            SluiceError: `LEASE-002` a newer owner has published, `PTR-001` not written, `PTR-002` damaged, `PTR-003` a
                flag of ours would replace one that is not.
        """
        if split is not None:
            _check(endpoint, split)
        await asyncio.to_thread(self._publish, endpoint, split, fence)

    def _publish(self, endpoint: str, split: ReleaseSplit | None, fence: int) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._file.with_name(f"{FILE}.lock")):
                content = self._read()
                _check_fence(self._file, content, endpoint, fence)
                kept = {key: flag for key, flag in content["flags"].items() if not is_ours(flag, endpoint)}
                ours = flags_of(split) if split else {}
                _check_names(self._file, kept.keys() & ours.keys())
                metadata = fenced(content["metadata"], endpoint, fence)
                content |= {"flags": kept | ours, "metadata": metadata}
                _replace(self._file, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        except OSError as error:
            raise SluiceError(
                "PTR-001",
                where=str(self._file),
                what=f"could not publish the prompts of {endpoint}; the document is as it was",
                why=str(error),
                do="make room for it or allow this user to write there, then run the same command again",
                retryable=True,
            ) from error

    def _read(self) -> Json:
        """Return the whole document, an empty one when there is none."""
        try:
            text = self._file.read_text("utf-8")
        except FileNotFoundError:
            return {"$schema": SCHEMA, "flags": {}, "metadata": {}}
        except OSError as error:
            raise _unreadable(self._file, error) from error
        except UnicodeDecodeError as error:
            raise _damaged(self._file, str(error)) from error
        try:
            return _document(json.loads(text))
        except (ValueError, TypeError) as error:
            raise _damaged(self._file, str(error)) from error


def _document(content: Any) -> Json:
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


def _check(endpoint: str, split: ReleaseSplit) -> None:
    """Refuse a split that would make a document in which users are lost or shared wrongly: a mistake of the caller."""
    releases = [drawn.release for drawn in split.releases]
    total = sum(drawn.share_pct for drawn in split.releases)
    if split.endpoint != endpoint or not releases or len(set(releases)) != len(releases):
        raise ValueError(f"not a split of {endpoint}: {split}")
    if abs(total - 100) > 1e-6 or any(drawn.share_pct < 0 for drawn in split.releases):
        raise ValueError(f"the shares of {split.endpoint} add up to {total}, not to 100")


def _check_fence(file: Path, content: Json, endpoint: str, fence: int) -> None:
    seen = fences_of(content["metadata"]).get(endpoint, 0)
    if fence < seen:
        raise SluiceError(
            "LEASE-002",
            where=str(file),
            what=f"refused to publish the prompts of {endpoint} with token {fence}",
            why=f"an owner with token {seen} has published since; one that slept past its lease must not write",
            do="run the same command again: it attaches to the rollout or says who owns it",
        )


def _check_names(file: Path, taken: Set[str]) -> None:
    if taken:
        raise SluiceError(
            "PTR-003",
            where=str(file),
            what=f"the flag {min(taken)} is there already and is not Sluice's",
            why="Sluice writes a flag of this name, and never over one that somebody else has put there",
            do="rename that flag, or the prompt or endpoint in the environment file",
        )


def _replace(path: Path, text: str) -> None:
    """Put `text` in place of the file in one step that survives a power cut, unless it is there already."""
    content = text.encode()
    if path.exists() and path.read_bytes() == content:
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the document's lock, which a writer has for milliseconds.

    Raises:
        OSError: somebody held it for all of `_LOCK_WAIT_S`.
    """
    until = time.monotonic() + _LOCK_WAIT_S
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(_LOCK_LOOK_S)
        yield


def _unreadable(file: Path, error: OSError) -> SluiceError:
    return SluiceError(
        "PTR-001",
        where=str(file),
        what="the flag document could not be read",
        why=str(error),
        do="allow this user to read it",
        retryable=True,
    )


def _damaged(file: Path, why: str) -> SluiceError:
    return SluiceError(
        "PTR-002",
        where=str(file),
        what="the flag document is damaged, so nothing is published to it",
        why=why[:200],
        do="mend its JSON, or move it away: what Sluice published is then published anew, and other flags are yours to"
        " bring back",
    )
