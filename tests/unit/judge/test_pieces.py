"""Pieces of the bench: what was measured is read back whole, and only for the code and the scenario it belongs to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.bench.judge.__main__ import main
from tests.bench.judge.cases import LIVE, Case
from tests.bench.judge.catalog import all_cases, chosen
from tests.bench.judge.grouped import grouped
from tests.bench.judge.measured import Results
from tests.bench.judge.pieces import Pieces, version
from tests.bench.judge.runs import Outcome
from tests.bench.judge.traffic import EQUAL, FLAT
from tests.bench.judge.work import BATCH, Batch, Task, tasks

CASE = Case("ten: equal", LIVE, EQUAL, FLAT, 200, group="some")


def batch(first: int, runs: int, *, failed: int = 0, case: Case = CASE) -> Batch:
    failed_s = np.where(np.arange(runs) < failed, 600.0, np.inf)
    judged = Outcome(failed_s, np.where(np.arange(runs) < failed, np.inf, 300.0), np.full(runs, 12.5))
    return Batch(case, first, judged, 0, np.full(runs, np.nan))


def test_what_was_kept_is_read_back_and_the_rest_is_left(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path)
    pieces.keep(CASE, [batch(0, BATCH, failed=3)])
    (found,) = pieces.kept([CASE])
    assert found.judged.failed_s.tolist() == batch(0, BATCH, failed=3).judged.failed_s.tolist()
    assert np.isnan(found.sigmas).all()
    assert pieces.left(tasks([CASE]), [found]) == [Task(CASE, BATCH, 200 - BATCH)]


def test_a_batch_of_fewer_runs_than_asked_is_measured_again(tmp_path: Path) -> None:
    assert Pieces(tmp_path).left([Task(CASE, 0, 125)], [batch(0, 20)]) == [Task(CASE, 0, 125)]


@pytest.mark.parametrize("change", ["version", "case"])
def test_pieces_of_other_code_or_of_a_changed_scenario_count_for_nothing(tmp_path: Path, change: str) -> None:
    pieces = Pieces(tmp_path)
    pieces.keep(CASE, [batch(0, 125)])
    assert pieces.kept([replace(CASE, runs=1000)]), "more runs do not change those that there are"
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), change: "another"}))
    assert pieces.kept([CASE]) == []


def test_the_version_is_that_of_the_judge_and_its_simulators() -> None:
    assert version() == version()
    assert len(version()) == 12


def test_scenarios_are_chosen_by_name_or_group_and_an_unknown_one_is_refused() -> None:
    every = all_cases()
    assert len({(case.group, case.name) for case in every}) == len({case.name for case in every}) == len(every)
    assert {case.group for case in chosen(every, ["hangs"])} == {"hangs"}
    assert [case.name for case in chosen(every, ["3 h: errors*"])] == ["3 h: errors 1 to 2 %"]
    with pytest.raises(ValueError, match='nearest: "answers of 1 s: 100 % hang"'):
        chosen(every, ["answers of 1 s: 100 % hangs"])


def test_a_groups_false_rollbacks_have_to_be_rare_and_known_to_be() -> None:
    few, many = (grouped(Results([batch(0, runs, failed=failed)]))[0] for runs, failed in ((125, 1), (4000, 30)))
    assert few.value == pytest.approx(0.8)
    assert few.met is False, "one in 125 leaves room for 4 %"
    assert many.met is True


def test_a_part_is_measured_once_and_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--scale", "0.01", "--workers", "1", "--out", str(tmp_path)]
    assert main([*arguments, "--only", "0.5 requests/s: errors x5, flat"]) == 0
    assert "1 of 1 batches" in capsys.readouterr().out
    assert main([*arguments, "--only"]) == 0
    told = capsys.readouterr().out
    assert "batches" not in told
    assert "20 runs" in told
    assert "0.5 requests/s: errors x5, flat: found" in told
    assert main([*arguments, "--only", "no such thing"]) == 2
