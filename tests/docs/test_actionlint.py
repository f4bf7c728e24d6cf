"""Every workflow that is here, or that `sluice init` writes, is one that GitHub takes: actionlint reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.builds.catalog import built
from tests.support.lifeline import missing
from tests.support.processes import ROOT

pytestmark = pytest.mark.engine
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITTEN = sorted((ROOT / "reconciler" / "operations" / "new_repository" / "templates" / "github").glob("*.txt"))


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    """Lint one workflow; other linters that may be on this machine are left out, so that each says the same."""
    program = built() / "bin" / "actionlint"
    if not program.exists():
        missing("actionlint is not built", "run `make engines`")
    command = [str(program), "-shellcheck=", "-pyflakes=", "-no-color", "-stdin-filename", "w.yml", "-"]
    return subprocess.run(command, input=path.read_text(), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", [*OURS, *WRITTEN], ids=lambda path: path.name)
def test_a_workflow_is_valid(path: Path) -> None:
    found = lint(path)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("runs-on: ubuntu-latest", "runs_on: ubuntu-latest", "runs_on"),
        ("vars.SLUICE_APPLY_ROLE != ''", "vars.SLUICE_APPLY_ROLE != '' &&", "unexpected end"),
        ("matrix.environment }}", "matrix.region }}", "region"),
        ("id-token: write", "id-token: maybe", "maybe"),
        ("timeout-minutes: 350", "timeout-minutes: soon", "float number"),
    ],
)
def test_what_github_would_refuse_is_seen(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = (ROOT / ".github" / "workflows" / "apply.yml").read_text()
    assert before in text
    broken = tmp_path / "apply.yml"
    broken.write_text(text.replace(before, after))
    found = lint(broken)
    assert found.returncode == 1
    assert said in found.stdout
