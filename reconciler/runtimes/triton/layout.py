"""Lays a release out as the model repository that a Triton server starts from: reads its folder, writes another."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.model.release import Release
from reconciler.ports import PlannedFiles
from reconciler.runtimes.triton.config import CONFIG
from reconciler.runtimes.triton.repository import Repository, plan_repository

REPOSITORY, MODELS, CONTROL = "triton.repository", "triton.models", "triton.control"
"""What `lay_out` adds to the paths of a release's artifacts."""

_CONTROL_FILE = "control"
_CONFIG_MAX = 1_000_000


def lay_out(release: Release, paths: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write a release's repository into `folder`, under the digest of what it says, and return what options need.

    Its files are links to the artifact, so that nothing is copied. Succeeds when it is there already. The word that
    loads and unloads models lies beside it, for this user alone.

    Raises:
        SluiceError: `RUN-007`, `RUN-008` the artifact cannot be served; `RUN-009` it cannot be read or written.
    """
    source = Path(paths["model"])
    try:
        planned = _planned(release, source, str(source))
        made = folder / planned.digest.removeprefix("sha256:")[:32]
        if not made.exists():
            _write(planned, source, made)
        return {
            **paths,
            REPOSITORY: str(made),
            MODELS: ",".join(planned.models),
            CONTROL: _control(folder / _CONTROL_FILE),
        }
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(
            release,
            f"the model repository could not be written to {folder}",
            error,
            "make room there, and allow this user to read the model and to write there",
        ) from error


def plan_files(release: Release, source: Path, *, model_path: str, root: str, control: str) -> PlannedFiles:
    """Return the repository that is to lie at `root`, to a server that sees the model at `model_path`.

    Raises:
        SluiceError: `RUN-007`, `RUN-008` the artifact cannot be served; `RUN-009` it cannot be read.
    """
    try:
        planned = _planned(release, source, model_path)
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(release, "the model cannot be read", error, "allow this user to read it") from error
    paths = {REPOSITORY: root, MODELS: ",".join(planned.models), CONTROL: control}
    return PlannedFiles(planned.files, planned.links, paths)


def _planned(release: Release, source: Path, model_path: str) -> Repository:
    names = sorted(_names(source))
    configs = {name: _text(source / name) for name in names if name.rpartition("/")[2] == CONFIG}
    return plan_repository(release, names, configs, model_path=model_path)


def _broken(release: Release, what: str, error: Exception, do: str) -> SluiceError:
    return SluiceError("RUN-009", where=release.model.ref, what=what, why=str(error), do=do, retryable=True)


def control_word(folder: Path) -> str:
    """Return the word with which models of the server that was laid out in `folder` are loaded and unloaded."""
    return (folder / _CONTROL_FILE).read_text(encoding="ascii")


def _names(source: Path) -> Iterator[str]:
    """Yield the files of a folder, relative to it; hidden ones are no part of an artifact."""
    for parent, folders, names in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name).relative_to(source).as_posix() for name in names if not name.startswith("."))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_CONFIG_MAX).decode()


def _write(planned: Repository, source: Path, made: Path) -> None:
    """Write a repository beside its place and move it there whole."""
    part = made.with_name(f".{made.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    for name, text in planned.files.items():
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_text(text, encoding="utf-8")
    for name, target in planned.links.items():
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).symlink_to((source / target).resolve())
    part.replace(made)


def _control(path: Path) -> str:
    """Return the control word, made at the first call."""
    if not path.exists():
        new = path.with_name(f".control.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        os.replace(new, path)
    return path.read_text(encoding="ascii")
