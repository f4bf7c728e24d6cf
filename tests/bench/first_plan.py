"""How long a new user needs from `pip install` of the wheel to a reviewed plan in a repository of their own.

    python -m tests.bench.first_plan

At most six commands and five minutes, of which pip takes most; pip's cache is not used. Building the wheel is ours and
not counted. Needs git and whatever index pip is told to read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

COMMANDS_MAX = 6
SECONDS_MAX = 300.0
_GIT = ["git", "-c", "user.name=new", "-c", "user.email=new@user.example"]


@dataclass(frozen=True)
class Took:
    """One command as a user types it, and the seconds it took."""

    typed: str
    seconds: float


def wheel(into: Path) -> Path:
    """Build the wheel with hatch's backend, as a publisher does."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(into.glob("*.whl"))


def walk(built: Path, home: Path) -> tuple[list[Took], str]:
    """Walk the way of docs/how-to/own-repository.md; return what each command took, and the plan."""
    took: list[Took] = []
    environ = {name: os.environ[name] for name in os.environ if not name.startswith(("SLUICE_", "PYTHON", "VIRTUAL"))}
    environ |= {"HOME": str(home), "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"}

    def call(typed: str, command: Sequence[str], folder: Path = home) -> str:
        began = time.monotonic()
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        took.append(Took(typed, time.monotonic() - began))
        if done.returncode:
            sys.exit(f"{typed} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    repository, sluice = home / "releases", str(home / ".venv" / "bin" / "sluice")
    call("python3 -m venv .venv", [sys.executable, "-m", "venv", ".venv"])
    call("pip install sluice", [str(home / ".venv" / "bin" / "pip"), "install", "--quiet", str(built)])
    call("sluice init releases", [sluice, "init", "releases", "--owner", "search"])
    call("git init && git add .", ["git", "init", "--quiet", "releases"])
    subprocess.run([*_GIT, "add", "."], cwd=repository, env=environ, check=True)
    call("git commit", [*_GIT, "commit", "--quiet", "-m", "Begin with Sluice"], repository)
    _edit(repository / "environments" / "dev.yaml")
    return took, call("sluice plan dev --against HEAD", [sluice, "plan", "dev", "--against", "HEAD"], repository)


def _edit(file: Path) -> None:
    """Change what a user changes first: the number of sequences at a time."""
    text = file.read_text()
    changed = text.replace("max_num_seqs: 32", "max_num_seqs: 64")
    if changed == text:
        sys.exit(f"{file.name} has no max_num_seqs: 32 any more; change something else here")
    file.write_text(changed)


def main() -> int:
    """Print the times; return 1 where the way is longer than promised, or the plan does not tell the change."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        home.mkdir()
        took, plan = walk(wheel(Path(folder)), home)
    total = sum(each.seconds for each in took)
    for each in took:
        print(f"{each.seconds:7.1f} s  {each.typed}")
    print(f"{total:7.1f} s  {len(took)} commands (promised: {SECONDS_MAX:.0f} s, {COMMANDS_MAX} commands)\n\n{plan}")
    good = len(took) <= COMMANDS_MAX and total <= SECONDS_MAX and "max_num_seqs" in plan
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
