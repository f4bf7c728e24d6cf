"""Reports hold every answer, whatever is in it, and a report that cannot be written is an error."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from environments.errors import SluiceError
from reconciler.gates.eval.ask import Answer, Question
from reconciler.gates.eval.judgement import judge_eval
from reconciler.gates.eval.report import rows_of, write_reports
from reconciler.gates.eval.scorers import Score
from reconciler.gates.eval.scoring import Scored
from tests.unit.gates.eval.answers import made_suite, scored

ODD = "half a pair \ud800, \x00 and ]]>"


def test_answers_survive_whatever_is_in_them(tmp_path: Path) -> None:
    arm = (Scored(Answer(Question("c0", "original", 0, "question"), ODD), {"ok": Score(False, ODD)}),)
    judged = judge_eval(made_suite(1, "population: cases\nthresholds: {ok: 1.0}"), arm, arm, max_drop=0.02, alpha=0.05)
    rows = rows_of({"challenger": arm})
    junit, answers = write_reports(tmp_path / "new", "r", judged, title="eval x", content={"answers": rows})
    assert json.loads(Path(answers).read_text())["answers"][0]["answer"] == ODD
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    judged = judge_eval(made_suite(1), scored([True]), None, max_drop=0.02, alpha=0.05)
    with pytest.raises(SluiceError) as caught:
        write_reports(tmp_path / "taken", "r", judged, title="eval x", content={})
    assert caught.value.code == "EVAL-027"
