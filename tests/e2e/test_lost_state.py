"""Somebody deletes the state of an environment that serves: every command names what is left and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.cli import Cli, project

DOWN = "sluice down e2e"


@pytest.fixture
def cli() -> Iterator[Cli]:
    with project() as found:
        yield found


def test_orphans_are_named_and_taken_down(cli: Cli) -> None:
    cli.declare("file:models/v1")
    cli.run("apply", cli.name, "--yes", code=0)
    told = cli.run("status", cli.name, code=0)
    assert "orphan" not in told.told
    shutil.rmtree(cli.home)
    told = cli.run("status", cli.name, code=0)
    assert "orphans of this environment are serving" in told.out
    assert DOWN in told.out
    assert cli.run("status", cli.name, "--json", code=0).json()["orphans"] >= 2
    planned = cli.run("plan", cli.name, code=0)
    assert DOWN in planned.err
    assert "orphan" not in planned.out
    refused = cli.run("apply", cli.name, "--yes", code=1)
    assert "APPLY-004" in refused.err
    assert DOWN in refused.err
    cli.run("down", cli.name, code=0)
    assert cli.run("status", cli.name, "--json", code=0).json()["orphans"] == 0
    cli.run("apply", cli.name, "--yes", code=0)
    assert cli.serving()
