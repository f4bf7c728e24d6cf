"""Digests over files and folders, remembered so that an unchanged model of many gigabytes is read only once.

Imports the core and its sibling `safety`; the registries of files and of MLflow use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.canonical import digest
from reconciler.registries.safety import WEIGHTS, check_weights, refuse_pickles, require_servable

_BLOCK = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file younger than this is not remembered: it could change again without a new modification time."""


class DigestCache:
    """SHA-256 by path, size and times of modification and change, kept in one JSON file. Losing it costs only time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _load(file)
        self._fresh: dict[str, list[int | str]] = {}

    def sha256(self, path: Path) -> str:
        """Return the hex SHA-256 of a file's content."""
        stat = path.stat()
        stamp: list[int | str] = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = self._known.get(str(path))
        if known and known[:-1] == stamp:
            return str(known[-1])
        found = _sha256(path)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _SETTLED_NS:
            self._known[str(path)] = self._fresh[str(path)] = [*stamp, found]
        return found

    def save(self) -> None:
        """Write down what is new, beside what others wrote in between; what no longer exists is forgotten."""
        if not self._fresh:
            return
        known = {path: entry for path, entry in {**_load(self._file), **self._fresh}.items() if os.path.exists(path)}
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk must not stop a plan that only lost its memory
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(known, sort_keys=True))
            part.replace(self._file)


def content_digest(path: Path, cache: DigestCache, *, ref: str, kind: str) -> str:
    """Return `sha256:…` over a file's bytes, or over the sorted relative paths and digests of a folder's files.

    Names that begin with a dot are left out: no runtime reads them, and tools drop theirs anywhere.

    Raises:
        SluiceError: `REG-002` pickled weights, a link that leaves the folder, or not a servable model.
    """
    if path.is_file():
        refuse_pickles(ref, [path.name])
        require_servable(ref, kind, [])
        return f"sha256:{cache.sha256(path)}"
    files = dict(sorted(content_files(path, ref)))
    refuse_pickles(ref, files)
    require_servable(ref, kind, files)
    for name, file in files.items():
        if name.endswith(WEIGHTS):
            check_weights(ref, file)
    found = digest([[name, cache.sha256(file)] for name, file in files.items()])
    cache.save()
    return found


def content_files(folder: Path, ref: str) -> Iterator[tuple[str, Path]]:
    """Yield what counts as a folder's content: relative path and file.

    Raises:
        SluiceError: `REG-002` a link leaves the folder.
    """
    inside = folder.resolve()
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            _refuse_outside(Path(parent, name), inside, ref)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = Path(parent, name)
                _refuse_special(path, ref)
                yield path.relative_to(folder).as_posix(), path


def _refuse_outside(path: Path, inside: Path, ref: str) -> None:
    if not path.is_symlink():
        return
    target = path.resolve()
    if target.is_relative_to(inside) and target.is_file():
        return
    raise SluiceError(
        "REG-002",
        where=ref,
        what=f"{path.name} is a link to {os.readlink(path)}, which is not a file inside the folder",
        why="what lies outside is not covered by the digest and may change under a running release",
        do="copy the folder with its links resolved (`cp -rL`)",
    )


def _refuse_special(path: Path, ref: str) -> None:
    if path.is_file():
        return
    raise SluiceError(
        "REG-002",
        where=ref,
        what=f"{path.name} is a pipe, a socket or a device",
        why="it has no content that could be hashed, and reading it may never end",
        do="remove it from the folder",
    )


def _sha256(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def _load(file: Path) -> dict[str, list[int | str]]:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in known.items() if isinstance(v, list)} if isinstance(known, dict) else {}
