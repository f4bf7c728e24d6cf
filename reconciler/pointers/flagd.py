"""Release splits in a flagd document of one region: `flags.json`, replaced whole so that nobody reads half of it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.pointers.document import changed, check_split, damaged, document, empty
from reconciler.pointers.flags import RESOLUTION_PCT, splits_of
from reconciler.ports import ReleaseSplit

FILE = "flags.json"
_LOCK_WAIT_S = 10.0
_LOCK_LOOK_S = 0.01


class FlagdPointers:
    """A `reconciler.ports.Pointers` over the file `flags.json` in `folder`, which other hands may add flags to."""

    resolution_pct = RESOLUTION_PCT

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def spread(self, endpoint: str) -> str | None:
        """Return None: whoever reads the file has a change at once."""
        return None

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
            check_split(endpoint, split)
        await asyncio.to_thread(self._publish, endpoint, split, fence)

    def _publish(self, endpoint: str, split: ReleaseSplit | None, fence: int) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._file.with_name(f"{FILE}.lock")):
                content = changed(self._read(), endpoint, split, fence=fence, where=str(self._file))
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
            return empty()
        except OSError as error:
            raise _unreadable(self._file, error) from error
        except UnicodeDecodeError as error:
            raise damaged(str(self._file), str(error)) from error
        try:
            return document(json.loads(text))
        except (ValueError, TypeError) as error:
            raise damaged(str(self._file), str(error)) from error


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
