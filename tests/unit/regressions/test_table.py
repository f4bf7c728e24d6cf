"""The table of regressions speaks of the sources and tests as they are today."""

from __future__ import annotations

import re

import pytest

from tests.builds.catalog import ROOT
from tests.regressions.read import Regression, regressions

each = pytest.mark.parametrize("regression", regressions(), ids=lambda r: r.finding)


@each
def test_it_changes_one_place(regression: Regression) -> None:
    text = (ROOT / regression.file).read_text()
    assert text.count(regression.old) == 1
    assert regression.new != regression.old


@each
def test_its_test_exists(regression: Regression) -> None:
    file, _, name = regression.test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.M)


def test_every_finding_that_stops_up_or_serving_has_one() -> None:
    found = {re.sub(r"b$", "", r.finding) for r in regressions()}
    assert found >= {*(f"A{n}" for n in range(1, 13)), *(f"B{n}" for n in range(1, 12))}
