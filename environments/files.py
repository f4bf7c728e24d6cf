"""Which files an environment may read: what lies below its root, and what the machine allows besides."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from environments.errors import SluiceError
from environments.trust import FILE_ROOTS, trust_of

_NEVER = tuple(map(Path, ("/proc", "/sys", "/dev")))
_MEMORY = Path("/dev/shm")


def readable_file(root: Path, path: str, *, environ: Mapping[str, str] | None = None) -> Path:
    """Return where `path` leads, with every link followed, when an environment with this root may read it.

    `root` is the folder that holds `environments/`. Below it, and below folders in `SLUICE_FILE_ROOTS`, everything may
    be read but hidden names, where credentials are kept. `environ` is `os.environ` when None. It need not exist.

    Raises:
        SluiceError: `FILE-001` outside of them, `FILE-002` a hidden name, `FILE-003` no file and no folder.
    """
    real = real_file(root, path)
    base = next((each for each in roots_of(root, environ) if real.is_relative_to(each)), None)
    if base is None:
        raise SluiceError(
            "FILE-001",
            where=path,
            what=f"{path} leads out of the folder that holds environments/",
            why="whoever can change the environment file could read every file of the machine that plans it",
            do=f"move it into that folder, or allow its own where Sluice runs: export {FILE_ROOTS}={real.parent}",
        )
    hidden = next((part for part in real.relative_to(base).parts if part.startswith(".")), None)
    if hidden:
        raise SluiceError(
            "FILE-002",
            where=path,
            what=f"{hidden} in it is a hidden name",
            why="such files hold credentials: .git/config, .env, .netrc",
            do="give it a name without a dot in front, or put it elsewhere",
        )
    return real


def real_file(root: Path, path: str) -> Path:
    """Return where `path` leads, with every link followed, when it is an ordinary file or folder or not there.

    Raises:
        SluiceError: `FILE-003` a device, a pipe, a socket, or what the kernel makes up.
    """
    real = Path(os.path.realpath(root / path))
    special = real.exists() and not (real.is_file() or real.is_dir())
    made_up = any(real.is_relative_to(folder) for folder in _NEVER) and not real.is_relative_to(_MEMORY)
    if special or made_up:
        raise SluiceError(
            "FILE-003",
            where=path,
            what=f"{path} leads to no ordinary file",
            why="its content is another one each time, belongs to a process, or never ends",
            do="name a file or a folder",
        )
    return real


def roots_of(root: Path, environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders whose content an environment with this root may show, with links followed."""
    allowed = trust_of(os.environ if environ is None else environ).roots
    return tuple(Path(os.path.realpath(folder)) for folder in (root, *allowed))
