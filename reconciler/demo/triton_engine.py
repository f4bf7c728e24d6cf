"""Installs a real Triton that needs no GPU, once, into its own environment under the cache folder.

Imports `environments` and its sibling `installs`. Called by `make triton`, the tour over Triton and the engine tests.
"""

from __future__ import annotations

import hashlib
import platform
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from environments.errors import SluiceError
from reconciler.demo.installs import installer, locked, run, write_launcher

TRITON_VERSION = "2.51.0"
"""The server in the wheel nvidia-pytriton 0.7.0."""

NEEDED_GB = 1.0
"""Free disk space for the install: 0.35 GB installed, and what the installer unpacks on the way."""

_LOCK = Path(__file__).resolve().parents[2] / "requirements" / "triton.txt"
_RECIPE = 1
"""Part of the stamp: raise it when the steps of the install change though the lock file does not."""

_WHEEL = Path("pytriton") / "tritonserver"
_LIBRARIES = "nvidia_pytriton.libs"


def ensure_triton(cache: Path, echo: Callable[[str], None]) -> Path:
    """Return the `serve_command` program `cache/triton/serve`, with Triton installed first unless that was done before.

    A stamp over the lock file, this Python and the place says that an install is whole; otherwise it goes on with what
    is there. Callers side by side wait for each other.

    Raises:
        SluiceError: `ENG-001` no lock file, `ENG-002` no Triton for this machine, `ENG-003` the disk is too full,
            `ENG-004` the installer failed (retryable).
    """
    home = cache.resolve() / "triton"
    if not is_installed(cache):
        _check_machine()
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", "Triton", echo):
            if not is_installed(cache):
                _check_disk(home)
                _install(home, echo)
                (home / "stamp").write_text(_stamp(home), encoding="utf-8")
    write_launcher(home / "serve", launcher_text(home))
    return home / "serve"


def is_installed(cache: Path) -> bool:
    """Say whether `ensure_triton` would have nothing to install."""
    home = cache.resolve() / "triton"
    try:
        found = (home / "stamp").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return found == _stamp(home) and _program(home).exists()


def launcher_text(home: Path) -> str:
    """Return the shell script that becomes `tritonserver`, with what this machine needs before the caller's arguments.

    The server's id is another one at each start: it is how counters are known to begin again from zero. Python
    models run with the packages of `home/venv`, so its `python3` has to be the first on PATH.
    """
    libraries = f"{_site(home) / _LIBRARIES}:{sysconfig.get_config_var('LIBDIR')}"
    start = f"exec {shlex.quote(str(_program(home)))} --backend-directory={shlex.quote(str(home / 'backends'))}"
    return (
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={shlex.quote(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n"
        f'export PATH={shlex.quote(str(home / "venv" / "bin"))}:"$PATH"\n'
        "read -r id < /proc/sys/kernel/random/uuid\n"
        f'{start} --id="$id" "$@"\n'
    )


def install_commands(venv: Path, uv: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make the environment; `uv` is how uv is called, empty for pip."""
    python = str(venv / "bin" / "python")
    common = ("--no-deps", "--require-hashes", "-r", str(_LOCK))
    if uv:
        return (
            (*uv, "venv", "--allow-existing", "--python", sys.executable, str(venv)),
            (*uv, "pip", "install", "--python", python, *common),
        )
    return (
        (sys.executable, "-m", "venv", str(venv)),
        (python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", *common),
    )


def _install(home: Path, echo: Callable[[str], None]) -> None:
    echo(f"installing Triton {TRITON_VERSION} into {home}: 0.35 GB, once")
    for command in install_commands(home / "venv", installer()):
        run(command, "Triton", echo)
    _link_backend(home)


def _link_backend(home: Path) -> None:
    """Put the Python backend together: the wheel keeps the program for each version of Python apart from its library.

    Raises:
        SluiceError: `ENG-002` the wheel has none for this Python.
    """
    wheel, folder = _site(home) / _WHEEL, home / "backends" / "python"
    stub = wheel / "python_backend_stubs" / _python() / "triton_python_backend_stub"
    if not stub.exists():
        raise _unsupported(f"Python {_python()}", f"it has some for {', '.join(_pythons(stub.parents[1]))}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in (*(wheel / "backends" / "python").iterdir(), stub):
        (folder / file.name).symlink_to(file)


def _pythons(folder: Path) -> list[str]:
    return sorted((each.name for each in folder.iterdir()), key=lambda name: int(name.partition(".")[2]))


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _site(home: Path) -> Path:
    return home / "venv" / "lib" / f"python{_python()}" / "site-packages"


def _program(home: Path) -> Path:
    return _site(home) / _WHEEL / "bin" / "tritonserver"


def _stamp(home: Path) -> str:
    try:
        lock = _LOCK.read_bytes()
    except OSError as error:
        raise SluiceError(
            "ENG-001",
            where=str(_LOCK),
            what="the list of Triton's packages cannot be read",
            why=str(error),
            do="run this from a clone of the repository, or point `serve_command` at a tritonserver of your own",
        ) from error
    return hashlib.sha256(f"{_RECIPE}:{_python()}:{home}:".encode() + lock).hexdigest()


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise _unsupported(f"{system} {machine}", "its wheels are built for Linux on x86_64 and aarch64")


def _unsupported(where: str, why: str) -> SluiceError:
    return SluiceError(
        "ENG-002",
        where=where,
        what=f"there is no Triton {TRITON_VERSION} in a wheel for this machine",
        why=why,
        do="use another machine or Python, or point `serve_command` at a tritonserver of your own",
    )


def _check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free / 1e9
    if free < NEEDED_GB:
        raise SluiceError(
            "ENG-003",
            where=str(home),
            what=f"{free:.1f} GB are free; Triton and its packages need {NEEDED_GB:.0f} GB",
            do="free some space, or let the cache folder be on another disk",
        )
