"""Copies of folders under their digest: whole, read-only and kept while somebody may start from them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact
from reconciler.registries.digests import DigestCache, content_digest, content_files

KEPT = 3
"""Copies that nobody needs now and that are kept all the same: one may be gone back to after its source has changed."""
KEPT_S = 3600.0
"""How long after its last use a copy is never deleted: whoever asked for it may not have written that down yet."""
_NOT_HERE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class Copies:
    """The copies in `folder`. `digests` remembers what was hashed, so that an unchanged copy is not read again."""

    def __init__(self, folder: Path, digests: Path) -> None:
        self._folder, self._digests = folder, digests

    def take(self, artifact: Artifact, source: Path, *, kind: str) -> Path:
        """Return the folder with an artifact's content, copied from `source` unless there is a copy already.

        The copy is what is hashed, so whatever happens to `source` meanwhile is found out. Where the file system can
        share blocks the copy takes no room; a hard link would not do, because writing to one name changes both.

        Raises:
            SluiceError: `REG-006` neither a copy nor the source has this digest; `REG-003` it could not be copied.
        """
        copy = self._folder / artifact.digest.removeprefix("sha256:")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(_lock_of(copy)):
                if not self._has(copy, artifact, kind):
                    self._copy(source, copy, artifact, kind)
                os.utime(_lock_of(copy))
        except OSError as error:
            raise SluiceError(
                "REG-003",
                where=artifact.ref,
                what=f"{source} could not be copied",
                why=str(error),
                do=f"make room under {self._folder}, and allow this user to read the source",
                retryable=True,
            ) from error
        return copy

    def keep(self, digests: Collection[str]) -> None:
        """Delete copies whose digest is not among these, but for some that were used last.

        What cannot be deleted now is deleted another time: nobody waits for it.
        """
        wanted = {digest.removeprefix("sha256:") for digest in digests}
        with contextlib.suppress(OSError):
            unneeded = [lock for lock in self._folder.glob("*.lock") if lock.stem not in wanted]
            unneeded.sort(key=lambda lock: lock.stat().st_mtime, reverse=True)
            for lock in unneeded[KEPT:]:
                if time.time() - lock.stat().st_mtime > KEPT_S:
                    _delete_free(lock)

    def _has(self, copy: Path, artifact: Artifact, kind: str) -> bool:
        return copy.is_dir() and self._digest(copy, artifact, kind) == artifact.digest

    def _copy(self, source: Path, copy: Path, artifact: Artifact, kind: str) -> None:
        if not source.is_dir():
            raise _absent(artifact, f"{source} is not there")
        part = copy.with_name(f"{copy.name}.part")
        for old in (part, copy):
            shutil.rmtree(old, ignore_errors=True)
        try:
            for name, file in content_files(source, artifact.ref):
                _copy_file(file, part / name)
            if not part.is_dir():
                raise _absent(artifact, f"{source} is empty")
            part.replace(copy)  # it is hashed under its own name, by which its digest is remembered
            found = self._digest(copy, artifact, kind)
            if found != artifact.digest:
                raise _absent(artifact, f"{source} now holds {found}, not {artifact.digest}")
        except BaseException:
            for old in (part, copy):
                shutil.rmtree(old, ignore_errors=True)
            raise

    def _digest(self, folder: Path, artifact: Artifact, kind: str) -> str:
        """Return a folder's digest, or in words why it has none."""
        try:
            return content_digest(folder, DigestCache(self._digests), ref=artifact.ref, kind=kind)
        except SluiceError as error:
            return f"what has no digest ({error.problem.what})"


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, by the kernel, which shares blocks where the file system can; then nobody writes to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as old, target.open("xb") as new:
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                continue
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            shutil.copyfileobj(old, new, 1 << 20)
    target.chmod(0o444)


def _delete_free(lock: Path) -> None:
    """Delete a copy unless somebody is at it."""
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        copy = lock.with_suffix("")
        shutil.rmtree(copy.with_name(f"{copy.name}.part"), ignore_errors=True)
        shutil.rmtree(copy, ignore_errors=True)


def _lock_of(copy: Path) -> Path:
    """Return a copy's lock, whose time of change is that of the copy's last use."""
    return copy.with_name(f"{copy.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _absent(artifact: Artifact, why: str) -> SluiceError:
    return SluiceError(
        "REG-006",
        where=artifact.ref,
        what="the content that was planned is not on this machine any more",
        why=f"there is no copy of it, and {why}",
        do="put that content back, or declare what is there now and plan again",
    )
