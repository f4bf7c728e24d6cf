"""A suite or profile that could never give evidence is found by the plan, not beside a warm challenger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cli import Cli, project

SUITE = "environments/evals/bad.yaml"
PROFILE = "loadtests/profiles/bad.yaml"
GATES: dict[str, Any] = {
    "eval": (SUITE, "suite: bad\nversion: 1\nscorers: {}\ncases: []\n", {"suite": SUITE, "max_drop": 0.02}, "EVAL-00"),
    "load": (
        PROFILE,
        "profile: bad\narrivals: {kind: never}\n",
        {"profile": PROFILE, "max_regression": 0.1},
        "LOAD-00",
    ),
}


@pytest.fixture
def cli() -> Iterator[Cli]:
    with project() as found:
        yield found


@pytest.mark.parametrize("gate", sorted(GATES))
def test_a_plan_reads_the_files_of_its_gates(cli: Cli, gate: str) -> None:
    path, text, settings, code = GATES[gate]
    (cli.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (cli.folder / path).write_text(text)
    cli.rollout["gates"] = {gate: settings}
    cli.declare("file:models/v1")
    told = cli.run("plan", cli.name, code=1)
    assert code in told.told
    assert path in told.told
    assert cli.entries() == []
