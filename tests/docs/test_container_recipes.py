"""The recipes of our images, as far as no container engine is needed: what they copy, install, and run as."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT

IMAGES = ROOT / "stacks" / "images"
CONTEXTS = {"controller": ROOT, "mlflow": IMAGES / "mlflow"}
LOCKS = {"controller": ROOT / "requirements" / "controller.txt", "mlflow": IMAGES / "mlflow" / "locked.txt"}


def instructions(name: str) -> list[tuple[str, str]]:
    """Return a recipe's instructions, continued lines joined."""
    text = (IMAGES / name / "Dockerfile").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def copied(name: str) -> list[tuple[list[str], str]]:
    """Return what is copied out of the build's context, and where to."""
    found = [rest.split() for word, rest in instructions(name) if word == "COPY" and "--from=" not in rest]
    return [(words[:-1], words[-1]) for words in found]


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", lock.read_text(), re.MULTILINE | re.IGNORECASE))


@pytest.mark.parametrize("name", CONTEXTS)
def test_what_is_copied_is_there(name: str) -> None:
    for sources, _ in copied(name):
        for source in sources:
            assert (CONTEXTS[name] / source).exists(), source


@pytest.mark.parametrize("name", CONTEXTS)
def test_nothing_is_taken_unseen_and_nobody_is_root(name: str) -> None:
    found = instructions(name)
    assert found[0] == ("ARG", "BASE"), "the base has no default, so that it is pinned by whoever builds"
    assert {rest.split()[0] for word, rest in found if word == "FROM"} == {"${BASE}"}
    assert [rest for word, rest in found if word == "USER"] == ["10001"]
    assert [word for word, _ in found].index("USER") > max(n for n, (word, _) in enumerate(found) if word == "COPY")
    for run in (rest for word, rest in found if word == "RUN"):
        for install in re.findall(r"pip install ([^&]*)", run):
            assert "--require-hashes" in install or "--no-deps /wheel/" in install, install


@pytest.mark.parametrize("name", CONTEXTS)
def test_every_lock_has_hashes_and_names_no_registry(name: str) -> None:
    text = LOCKS[name].read_text()
    assert "--hash=sha256:" in text
    assert not re.search(r"index-url|https?://|@ file", text)


def test_the_controllers_packages_are_those_that_tests_run_with() -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    differ = {n: (v, tested[n]) for n, v in pins(LOCKS["controller"]).items() if n in tested and tested[n] != v}
    assert not differ


def test_mlflows_lock_is_of_its_recipe() -> None:
    wanted, locked = pins(IMAGES / "mlflow" / "requirements.txt"), pins(LOCKS["mlflow"])
    assert {name: locked.get(name) for name in wanted} == wanted


@pytest.mark.slow
def test_what_is_copied_is_enough_to_build_the_wheel(tmp_path: Path) -> None:
    """The recipe's own build step, in a folder that holds what it copies and nothing else."""
    for sources, target in copied("controller")[:-2]:
        for source in sources:
            into = tmp_path / target / Path(source).name if target.endswith("/") else tmp_path / target
            into.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / source, into if target != "./" else tmp_path / Path(source).name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheel")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "sluice/reconciler/cli/main.py" in names
    assert "sluice/requirements/vllm.txt" in names
