"""The scaffolds, run in a copy of the repository: the result passes lint, and fails only where it says "write me"."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.scaffold import KINDS, finish, guide, main, scaffold
from tests.support.processes import ROOT

NAMES = {"gate": "toxicity", "policy": "naming", "metric-source": "datadog", "platform": "nomad"}
FOLDERS = ("environments", "policies", "reconciler", "loadtests", "components", "stacks", "tests", "docs", "examples")
FILES = ("pyproject.toml", "CHANGELOG.md", "README.md", "Makefile")
WRITE_ME = "write me"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("scaffold")]


@dataclass(frozen=True)
class Copy:
    """A copy of the repository with one scaffold of each kind."""

    root: Path
    written: tuple[str, ...]

    def code(self, start: str = "") -> list[str]:
        return [path for path in self.written if path.endswith(".py") and path.startswith(start)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        environment.pop("SLUICE_GOLDEN", None)
        return subprocess.run(words, cwd=self.root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__", ".sluice", "*.pyc")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, root / file)
    written: set[str] = set()
    for kind, name in NAMES.items():
        written |= set(scaffold(root, kind, name))
    finish(root, sorted(written))
    return Copy(root, tuple(sorted(written)))


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_every_kind_is_tried() -> None:
    assert NAMES.keys() == KINDS.keys()


@pytest.mark.parametrize(
    "words",
    [("ruff", "check"), ("ruff", "format", "--check"), ("mypy", "--cache-dir", ".mypy_cache")],
    ids=lambda words: "-".join(words[:2]),
)
def test_what_is_written_passes_lint(copy: Copy, words: tuple[str, ...]) -> None:
    found = copy.run(program(words[0]), *words[1:], *copy.code())
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_is_written_keeps_the_layers(copy: Copy) -> None:
    found = copy.run(program("lint-imports"))
    assert found.returncode == 0, found.stdout


def test_new_tests_fail_only_where_they_say_write_me(copy: Copy) -> None:
    report = copy.root / "report.xml"
    kept = ["tests/unit/environments/test_schema.py", "tests/docs/test_pages.py", "tests/docs/test_error_codes.py"]
    copy.run(sys.executable, "-m", "pytest", "-q", "-n0", f"--junitxml={report}", *copy.code("tests/"), *kept)
    failed, passed = {}, set()
    for case in ET.parse(report).iter("testcase"):
        trouble = [child for child in case if child.tag in ("failure", "error")]
        name = f"{case.get('classname')}.{case.get('name')}"
        if trouble:
            failed[name] = "".join(f"{child.get('message')} {child.text}" for child in trouble)
        else:
            passed.add(name)
    assert [name for name, said in failed.items() if WRITE_ME not in said] == []
    for word in ("gate_toxicity", "NAMING-001", "metrics_datadog", "platform_nomad"):
        assert any(word in name for name in failed), f"nothing asks to write {word}"
    assert any("test_pages" in name for name in passed)


def test_commands_know_what_was_added(copy: Copy) -> None:
    sluice = (sys.executable, "-m", "reconciler.cli.main")
    assert "[eval|load|toxicity]" in copy.run(*sluice, "gate", "--help").stdout.replace("{", "[").replace("}", "]")
    assert "Write me: what is asked for" in copy.run(*sluice, "policy", "explain", "NAMING-001").stdout
    schema = copy.run(*sluice, "schema").stdout
    assert '"datadog"' in schema
    assert '"NomadRegion"' in schema


def test_a_second_one_of_the_same_name_is_refused(copy: Copy) -> None:
    before = (copy.root / "environments" / "gates.py").read_text()
    with pytest.raises(FileExistsError, match="toxicity"):
        scaffold(copy.root, "gate", "toxicity")
    assert (copy.root / "environments" / "gates.py").read_text() == before


@pytest.mark.parametrize("arguments", [[], ["gate"], ["gate", "Bad-Name"], ["gadget", "x"], ["gate", ""]])
def test_a_wrong_call_says_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "NAME=" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_a_guide_is_the_page_with_the_name_filled_in(kind: str) -> None:
    text = guide(ROOT, kind, "toxicity")
    assert "NAME.py" not in text
    assert f"make new-{kind} NAME=" in text
    assert "UPPER" not in text
    assert "CamelName" not in text
    assert text.startswith(f"# Add a {kind.replace('-', ' ')}\n")
    assert "toxicity" in text
