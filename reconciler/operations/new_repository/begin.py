"""Writes a new repository, and says later what a newer Sluice would write: files are compared with what was written.

Called by `sluice init`. It overwrites nothing that somebody changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from reconciler.operations.new_repository.files import Answers, rendered

RECORD = ".sluice-init.json"
_FORMAT = 1


class State(Enum):
    """How a file stands to what this version would write."""

    SAME = "same"
    NEW = "new"  # this version has it, and it was never written here
    NEWER = "newer"  # this version writes it otherwise, and nobody here touched it
    YOURS = "yours"  # you changed or deleted it, and this version writes what was written before
    BOTH = "both"  # you changed or deleted it, and this version writes it otherwise, too
    LEFT = "left"  # this version does not write it any more


@dataclass(frozen=True)
class Found:
    """One file: what is there, what this version would write; None where there is nothing."""

    path: str
    state: State
    here: str | None
    wanted: str | None

    @property
    def safe(self) -> bool:
        """Return whether writing it takes nothing from anybody."""
        return self.state in (State.NEW, State.NEWER)


def begin(folder: Path, answers: Answers) -> list[str]:
    """Write a new repository and return its files.

    Raises:
        SluiceError: `INIT-001` some of the files are there already; nothing is written.
    """
    files = rendered(answers)
    there = [path for path in (*files, RECORD) if (folder / path).exists()]
    if there:
        raise SluiceError(
            "INIT-001",
            where=str(folder),
            what=f"{there[0]} is there already" + (f", and {len(there) - 1} more" if len(there) > 1 else ""),
            why="init writes a new repository and overwrites nothing",
            do="name an empty folder; in a repository that init wrote, `sluice init --upgrade` shows what is newer",
        )
    for path, text in files.items():
        _write(folder / path, text)
    _record(folder, answers, {path: _digest(text) for path, text in files.items()})
    return list(files)


def compare(folder: Path, version: str) -> tuple[Answers, list[Found]]:
    """Return how each file stands to what this version would write, sorted by path.

    Raises:
        SluiceError: `INIT-002` no repository that `sluice init` wrote.
    """
    known = _read_record(folder)
    answers = Answers(version, known["owner"], known["package"])
    wanted, written = rendered(answers), known["files"]
    return answers, [_found(folder, path, wanted.get(path), written.get(path)) for path in sorted({*wanted, *written})]


def upgrade(folder: Path, answers: Answers, found: list[Found]) -> list[str]:
    """Write what is safe to write and return those paths; what somebody changed stays as it is."""
    for each in found:
        if each.safe and each.wanted is not None:
            _write(folder / each.path, each.wanted)
    _record(folder, answers, {each.path: _digest(each.wanted) for each in found if each.wanted is not None})
    return [each.path for each in found if each.safe]


def _found(folder: Path, path: str, wanted: str | None, written: str | None) -> Found:
    here = (folder / path).read_text() if (folder / path).is_file() else None
    return Found(path, _state(here, wanted, written), here, wanted)


def _state(here: str | None, wanted: str | None, written: str | None) -> State:
    if wanted is None:
        return State.LEFT
    if here == wanted:
        return State.SAME
    if written is None:
        return State.NEW if here is None else State.BOTH
    touched = here is None or _digest(here) != written
    if not touched:
        return State.NEWER
    return State.YOURS if _digest(wanted) == written else State.BOTH


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _record(folder: Path, answers: Answers, files: Mapping[str, str]) -> None:
    """Note last what was written, so that a run that was killed is seen as one that never ended."""
    body = {"format": _FORMAT, "version": answers.version, "owner": answers.owner, "package": answers.package}
    _write(folder / RECORD, json.dumps({**body, "files": files}, indent=1, sort_keys=True) + "\n")


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / RECORD).read_text())
        if found["format"] != _FORMAT or not {"owner", "package", "files"} <= found.keys():
            raise ValueError(f"format {found['format']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SluiceError(
            "INIT-002",
            where=str(folder / RECORD),
            what="it cannot be read" if (folder / RECORD).exists() else "it is not there",
            why=f"it says what `sluice init` wrote here ({type(error).__name__})",
            do="call it in a repository that `sluice init DIR` wrote, or restore the file from git",
        ) from error
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    os.replace(draft, path)
