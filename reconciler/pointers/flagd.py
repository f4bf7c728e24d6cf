"""Prompt splits in a flagd document of one region: `flags.json`, replaced whole so that nobody reads half of it.

Imports the ports and its sibling `flags`; the loop publishes through it, and applications read the file with any
OpenFeature provider that speaks flagd's format.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from reconciler.pointers.flags import document, parse_document
from reconciler.ports import PromptSplit

FILE = "flags.json"


class FlagdPointers:
    """A `reconciler.ports.Pointers` over the file `flags.json` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    async def read(self) -> tuple[PromptSplit, ...]:
        """Return what is published, sorted by endpoint and prompt; empty when nothing is.

        Raises:
            SluiceError: `PTR-001` unreadable, `PTR-002` damaged.
        """
        splits, _ = await asyncio.to_thread(self._parse)
        return splits

    async def publish(self, endpoint: str, splits: Sequence[PromptSplit], *, fence: int) -> None:
        """Replace all splits of one endpoint; other endpoints keep theirs, and what is there already is not rewritten.

        Raises:
            SluiceError: `LEASE-002` a newer owner has published, `PTR-001` not written, `PTR-002` damaged.
        """
        for split in splits:
            _check(endpoint, split)
        await asyncio.to_thread(self._publish, endpoint, tuple(splits), fence)

    def _publish(self, endpoint: str, splits: tuple[PromptSplit, ...], fence: int) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._file.with_name(f"{FILE}.lock")):
                present, fences = self._parse()
                if fence < fences.get(endpoint, 0):
                    raise _fenced(self._file, endpoint, fence, fences[endpoint])
                kept = tuple(split for split in present if split.endpoint != endpoint)
                content = document([*kept, *splits], fences | {endpoint: fence})
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

    def _parse(self) -> tuple[tuple[PromptSplit, ...], dict[str, int]]:
        try:
            text = self._file.read_text("utf-8")
        except FileNotFoundError:
            return (), {}
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self._file, "PTR-001", "could not be read", error) from error
        try:
            return parse_document(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError) as error:
            raise _unreadable(self._file, "PTR-002", "is damaged or was not written by Sluice", error) from error


def _check(endpoint: str, split: PromptSplit) -> None:
    """Refuse a split that would make a document in which users are lost or shared wrongly: a mistake of the caller."""
    releases = [release for release, _, _ in split.variants]
    total = sum(share for _, _, share in split.variants)
    if split.endpoint != endpoint or not releases or len(set(releases)) != len(releases):
        raise ValueError(f"not a split of {endpoint}: {split}")
    if abs(total - 100) > 1e-6 or any(share < 0 for _, _, share in split.variants):
        raise ValueError(f"the shares of {split.endpoint}.{split.prompt} add up to {total}, not to 100")


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
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fenced(file: Path, endpoint: str, fence: int, seen: int) -> SluiceError:
    return SluiceError(
        "LEASE-002",
        where=str(file),
        what=f"refused to publish the prompts of {endpoint} with token {fence}",
        why=f"an owner with token {seen} has published since; one that slept past its lease must not write",
        do="run the same command again: it attaches to the rollout or says who owns it",
    )


def _unreadable(file: Path, code: str, what: str, error: Any) -> SluiceError:
    return SluiceError(
        code,
        where=str(file),
        what=f"the flag document {what}",
        why=f"{type(error).__name__}: {error}"[:200],
        do="move the file away and run `sluice apply` again, which writes it anew",
        retryable=code == "PTR-001",
    )
