"""What an environment costs at rest stands in docs/adopt.md, itemised, and is what the stacks make today."""

from __future__ import annotations

import os
import re

import pytest

from tests.builds.catalog import ROOT
from tests.components.test_everywhere import ENVIRONMENTS, everything, found
from tests.support import costs

ADOPT = ROOT / "docs" / "adopt.md"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_costs_in_the_guide_are_those_of_the_stacks(environment: str) -> None:
    spec = found(environment)
    table = costs.table(spec, costs.lines(spec, [(m.type, m.inputs) for m in everything(environment)]))
    begin, end = f"<!-- costs {environment} -->\n", f"\n<!-- end {environment} -->"
    text = ADOPT.read_text()
    if os.environ.get("SLUICE_GOLDEN") == "write":
        ADOPT.write_text(re.sub(re.escape(begin) + ".*?" + re.escape(end), begin + table + end, text, flags=re.S))
        text = ADOPT.read_text()
    assert begin + table + end in text, "docs/adopt.md is out of date: SLUICE_GOLDEN=write makes it anew"


def test_dev_costs_what_a_developer_would_accept() -> None:
    spec = found("dev")
    total = sum(line.usd for line in costs.lines(spec, [(m.type, m.inputs) for m in everything("dev")]))
    assert total < 500
