"""Another revision of the folder above `environments/`, out of git, without touching the work tree."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError

_CODE = "PLAN-009"


@dataclass(frozen=True)
class Revision:
    """A folder with what `root` held at a commit; `name` says which as people do: the reference and the commit."""

    root: Path
    name: str


@contextlib.contextmanager
def revision(root: Path, ref: str) -> Iterator[Revision]:
    """Give what git has of `root` at `ref`, until the block ends.

    Raises:
        SluiceError: `PLAN-009` there is no git, no work tree, or no such revision.
    """
    commit = (
        _git(root, ref, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    )
    packed = _git(root, ref, "archive", "--format=tar", commit)
    with tempfile.TemporaryDirectory(prefix="sluice-revision-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield Revision(Path(folder), f"git {ref} ({commit[:10]})")


def _git(root: Path, ref: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _refused(ref, str(error)) from error
    if done.returncode != 0:
        raise _refused(ref, done.stderr.decode(errors="replace").strip() or "git knows no such revision")
    return done.stdout


def _refused(ref: str, why: str) -> SluiceError:
    return SluiceError(
        _CODE,
        where=ref,
        what="this revision cannot be read",
        why=why,
        do="name a branch, a tag or a commit that is here (in CI: fetch it first, `git fetch origin main`)",
    )
