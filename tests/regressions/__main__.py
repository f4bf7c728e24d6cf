"""Bring each regression back, one after the other, and see its test fail: `python -m tests.regressions [FINDING…]`.

Works on a copy of the sources, so that nothing in this checkout changes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.builds.catalog import ROOT
from tests.regressions.read import Regression, regressions

_IGNORED = shutil.ignore_patterns(".git", ".venv", ".cache", "__pycache__", ".*_cache", ".hypothesis", ".sluice")


def main(wanted: list[str]) -> int:
    """Return 0 when every wanted regression is caught by its test, and the tests pass without one."""
    chosen = [r for r in regressions() if not wanted or r.finding in wanted]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "sluice"
        shutil.copytree(ROOT, copy, ignore=_IGNORED, symlinks=True)
        (copy / ".cache").symlink_to(ROOT / ".cache")
        missed = [r for r in chosen if not _caught(copy, r)]
        kept = _passes(copy, sorted({r.test for r in chosen}))
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught; without them the tests {'pass' if kept else 'FAIL'}")
    return 1 if missed or not kept else 0


def _caught(copy: Path, regression: Regression) -> bool:
    file = copy / regression.file
    text = file.read_text()
    file.write_text(text.replace(regression.old, regression.new))
    caught = not _passes(copy, [regression.test])
    file.write_text(text)
    print(f"{regression.finding:5} {'caught' if caught else 'MISSED'}  {regression.what}", flush=True)
    return caught


def _passes(copy: Path, tests: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=copy, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
