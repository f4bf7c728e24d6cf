"""The sample of mutants is the same for one seed, and the list of survivors names lines that there are."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.builds.catalog import ROOT
from tests.mutation.sample import ROOMS, Mutant, sample
from tests.mutation.survivors import Survivor, survivors

NAMES = [f"reconciler.core.{room}.part.x_do__mutmut_{n}" for room in (*ROOMS, "status") for n in range(1, 200)]


def test_one_seed_draws_one_sample_and_another_seed_another() -> None:
    one = sample(NAMES, 100, 1)
    assert one == sample(list(reversed(NAMES)), 100, 1)
    assert one != sample(NAMES, 100, 2)
    assert len(set(one)) == 100


def test_what_decides_gets_most_of_it() -> None:
    rooms = Counter(Mutant(name).room for name in sample(NAMES, 100, 1))
    assert rooms == {"rollout": 45, "plan": 20, "model": 15, "slo_check": 7, "judge": 8, "other": 5}


def test_a_mutant_says_which_function_it_changes() -> None:
    assert Mutant("reconciler.core.rollout.after.x__split__mutmut_12").function == "rollout/after.py _split"
    method = Mutant("reconciler.core.model.rollout.xǁRolloutǁwith_region__mutmut_1")
    assert method.function == "model/rollout.py Rollout.with_region"


@pytest.mark.parametrize("row", survivors(), ids=lambda row: f"{row.where}: {row.new}"[:80])
def test_the_list_names_lines_that_there_are(row: Survivor) -> None:
    file, name = row.where.split(" ")
    text = (ROOT / "reconciler" / "core" / file).read_text()
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == name.rsplit(".", 1)[-1]
    ]
    bodies = [
        " ".join(line.strip() for line in (ast.get_source_segment(text, node) or "").splitlines()) for node in found
    ]
    assert any(row.old in body for body in bodies), f"{row.where} has no line `{row.old}` any more: take the row out"
    assert row.why
