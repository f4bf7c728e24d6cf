"""Steps that installs of engines share: one at a time, by uv where it is there, with what the installer says."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from environments.errors import SluiceError


@contextlib.contextmanager
def locked(path: Path, name: str, echo: Callable[[str], None]) -> Iterator[None]:
    """Hold the file's lock; the kernel lets go of it when this process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            echo(f"another process is installing {name}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installer() -> tuple[str, ...]:
    """Return how to call uv, which is five times as fast here, or nothing when pip has to do."""
    if found := shutil.which("uv"):
        return (found,)
    return (sys.executable, "-m", "uv") if importlib.util.find_spec("uv") else ()


def run(command: Sequence[str], name: str, echo: Callable[[str], None]) -> None:
    """Run a command, echo what it says but uv's list of packages, and end it when this process is interrupted."""
    lines: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                if not lines[-1].startswith(" + "):
                    echo(f"  {lines[-1]}")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise SluiceError(
            "ENG-004",
            where=" ".join(command[:4]),
            what=f"installing {name} failed with exit code {process.returncode}",
            why="; ".join(lines[-5:]),
            do="check the network and run the same command again: what is there already is kept",
            retryable=True,
        )


def write_launcher(path: Path, text: str) -> None:
    """Replace the launcher in one move, because servers may be starting through it right now."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    scratch = path.with_name(f".serve-{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(0o755)
    scratch.replace(path)
