"""Drive mutmut in a folder of its own under `.cache/mutate`: which mutants there are, what became of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.builds.catalog import ROOT

HOME = ROOT / ".cache" / "mutate"
WORK, PACKAGES = HOME / "work", HOME / "packages"
MUTATED = Path("reconciler", "core")
LOCK = ROOT / "requirements" / "mutate.txt"
_COPIED = ("reconciler", "environments", "policies", "loadtests", "components", "stacks", "examples", "docs", "tests")
_TESTED = (
    "pyproject.toml",
    "environments",
    "policies",
    *(f"tests/{each}" for each in ("unit", "scenario", "support", "golden")),
)
_FIRST = "reconciler.core.times.*"
KILLED, TIMEOUT, SURVIVED, BROKEN = "killed", "timed out", "survived", "broken"
_SAID = {0: SURVIVED, 1: KILLED, 3: KILLED, 5: SURVIVED, 33: SURVIVED, 24: TIMEOUT, -24: TIMEOUT, 152: TIMEOUT}
"""What the exit codes of pytest and mutmut mean; 5 and 33 say that no test reaches the function."""


def prepare(children: int) -> None:
    """Install mutmut, make the mutants and measure which test reaches which function; keep what has not changed."""
    # The folder is of one checkout: another one that shares `.cache` has links of its own.
    sources = f"{ROOT} {_digest(LOCK, ROOT / 'reconciler')}"
    tests = _digest(*(ROOT / name for name in _TESTED))
    if _stamped("tests") == sources + tests:
        return
    _install()
    if _stamped("sources") != sources:
        shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(WORK / "mutants" / "tests", ignore_errors=True)
    (WORK / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    WORK.mkdir(parents=True, exist_ok=True)
    for name in (*_COPIED, "requirements", "pyproject.toml", "Makefile", "README.md"):
        (WORK / name).unlink(missing_ok=True)
        (WORK / name).symlink_to(ROOT / name)
    # mutmut makes and measures everything before it runs anything: a small module will do.
    run([_FIRST], children)
    (HOME / "sources").write_text(sources)
    (HOME / "tests").write_text(sources + tests)


def run(names: Sequence[str], children: int) -> None:
    """Try the mutants of these names (or patterns); what became of them is in `outcomes`."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children), *names]
    log = HOME / "mutmut.log"
    with log.open("w") as out:
        code = subprocess.run(
            command, cwd=WORK, env=_environment(), stdout=out, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise SystemExit(f"mutmut ended with {code}: {log.relative_to(ROOT)} says why\n{log.read_text()[-2000:]}")


def outcomes() -> dict[str, str | None]:
    """Return every mutant that there is, and what became of it: None where it was not tried."""
    found: dict[str, str | None] = {}
    for path in sorted((WORK / "mutants" / MUTATED).rglob("*.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        found |= {name: None if code is None else _SAID.get(code, BROKEN) for name, code in codes.items()}
    return found


def change_of(name: str) -> tuple[str, str]:
    """Return the lines that a mutant takes away and those that it puts there, without indentation."""
    command = [sys.executable, "-m", "mutmut", "show", name]
    shown = subprocess.run(command, cwd=WORK, env=_environment(), stdout=subprocess.PIPE, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    return _marked(lines, "-"), _marked(lines, "+")


def _marked(lines: Iterable[str], mark: str) -> str:
    return " ".join(line[1:].strip() for line in lines if line.startswith(mark))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PACKAGES)}


def _stamped(name: str) -> str:
    stamp = HOME / name
    return stamp.read_text() if stamp.exists() else ""


def _digest(*paths: Path) -> str:
    """Return a digest of the files at these paths and in these folders, without what Python compiled."""
    said = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                said.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return said.hexdigest()


def _install() -> None:
    """Install the locked packages beside the virtual environment: they are on nobody else's path."""
    lock = HOME / "lock.txt"
    if lock.exists() and lock.read_bytes() == LOCK.read_bytes():
        return
    shutil.rmtree(PACKAGES, ignore_errors=True)
    uv = Path(sys.executable).parent / "uv"
    options = ["--target", str(PACKAGES), "--no-deps", "--require-hashes", "-r", str(LOCK)]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", sys.executable, *options], check=True)
    shutil.copy(LOCK, lock)
