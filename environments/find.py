"""Which file an ENV argument means. Reads a folder's listing; commands and stacks call it before `load`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from environments.errors import SluiceError, nearest

FOLDER_VARIABLE = "SLUICE_ENVIRONMENTS"
_FAR_AWAY = os.path.join("..", "..", "..")


def environments_folder(*, environ: Mapping[str, str] | None = None, start: Path | None = None) -> Path:
    """Return the folder of environment files: `SLUICE_ENVIRONMENTS`, or `environments/` in or above `start`.

    `start` is the working directory when None. The result need not exist.
    """
    named = (os.environ if environ is None else environ).get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    here = (start or Path.cwd()).absolute()
    above = (folder / "environments" for folder in (here, *here.parents))
    return next((folder for folder in above if folder.is_dir()), here / "environments")


def known_environments(folder: Path) -> tuple[str, ...]:
    """Return the names of the environments in a folder, sorted; empty when it is not there."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml"))) if folder.is_dir() else ()


def reachable(path: Path, *, start: Path | None = None) -> str:
    """Return a path as it can be opened from where one stands: relative where that is short, else absolute.

    `start` is the working directory when None.
    """
    here = (start or Path.cwd()).absolute()
    relative = os.path.relpath(path.absolute(), here)
    return str(path.absolute()) if relative.startswith(_FAR_AWAY) else relative


def find(
    name: str | None = None,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
) -> Path:
    """Return the path of an environment's file: `file` as it is, or the file called `name`.

    Raises:
        SluiceError: `SPEC-001` no such environment, naming the known ones and the nearest.
    """
    if file is not None:
        return file
    folder = environments_folder(environ=environ, start=start)
    known = known_environments(folder)
    if name is not None and name in known:
        return folder / f"{name}.yaml"
    if name is None and len(known) == 1:
        return folder / f"{known[0]}.yaml"
    raise SluiceError(
        "SPEC-001",
        where=folder.name,
        what=f'there is no environment "{name}"' if name is not None else "no environment is named",
        why=f"{FOLDER_VARIABLE} or the folder environments/ decides which there are",
        do=f"name one of them ({nearest(name or '', known)}), or give a file with -f FILE" if known else _begin(name),
    )


def _begin(name: str | None) -> str:
    called = name if name and "/" not in name else "NAME"
    return (
        f"write environments/{called}.yaml, beginning with `environment: {called}`: each plan then says what is "
        "missing and gives an example; `sluice schema` explains every key"
    )
