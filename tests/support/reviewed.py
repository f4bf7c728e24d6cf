"""A project in a folder in which nothing serves yet, for commands that are called in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run
from reconciler.platforms.local.down import down
from tests.support.processes import free_port, left_over
from tests.support.servers.doubles import model_folder

CLEAN = ("SLUICE_ENVIRONMENTS", "SLUICE_AUTHOR", "SLUICE_STORE", "SLUICE_LEDGER_KEY", "SLUICE_APPROVAL_KEY", "CI")


class Project:
    """One environment, `dev`, with one endpoint whose model is in the folder; the working directory is the folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys, self.environ = folder, capsys, monkeypatch
        (folder / "environments").mkdir(parents=True)
        (folder / "models").mkdir()
        model_folder(folder / "models", "v1", content="v1")
        region = {"platform": "local", "gateway_port": free_port(folder.parent), "serve_command": ["x"]}
        release = {"model": "file:models/v1"}
        self.home = folder / ".sluice"
        self.spec: dict[str, Any] = {
            "environment": "dev",
            "owner": "us",
            "store": "sqlite:///.sluice/dev.db",
            "regions": {"local": region},
            "endpoints": {"chat": {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": release}},
        }
        monkeypatch.setenv("SLUICE_HOME", str(self.home))
        for name in CLEAN:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)
        self.declare()

    def declare(self, **blocks: Any) -> None:
        """Write the environment file with these top-level blocks replaced; None takes one out."""
        self.spec = {key: value for key, value in {**self.spec, **blocks}.items() if value is not None}
        (self.folder / "environments" / "dev.yaml").write_text(json.dumps(self.spec, indent=1))

    def call(self, *arguments: str, code: int = 0) -> str:
        """Run a command, check its exit code, and return what stands on stdout."""
        self._capsys.readouterr()
        found = run(list(arguments))
        said = self._capsys.readouterr()
        assert found == code, f"sluice {' '.join(arguments)} exited {found}, not {code}\n{said.out}\n{said.err}"
        return said.out

    def refused(self, *arguments: str, code: int = 1) -> dict[str, Any]:
        """Run a command with `--json` that is refused, and return its first problem."""
        problem: dict[str, Any] = json.loads(self.call(*arguments, "--json", code=code))["error"]["problems"][0]
        assert problem["what"]
        assert problem["do"]
        return problem

    def refused_plain(self, *arguments: str) -> str:
        """Run a command that is refused, and return what it says."""
        self._capsys.readouterr()
        assert run(list(arguments)) == 1
        return self._capsys.readouterr().err

    def down(self) -> None:
        """End what an apply left: a gateway, mostly. No server starts here, for its program is not there."""
        asyncio.run(down(self.home, "dev"))
        assert left_over(self.home) == []


Make = Callable[[str], Project]


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Make]:
    """Give a maker of such projects in folders of these names."""
    made: list[Project] = []

    def make(name: str) -> Project:
        made.append(Project(tmp_path / name, monkeypatch, capsys))
        return made[-1]

    yield make
    for each in made:
        each.down()


@pytest.fixture
def project(projects: Make) -> Project:
    """Give one such project."""
    return projects("project")
