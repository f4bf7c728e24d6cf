"""The table of regressions as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Regression:
    """A mutation of a mend, and the test that must fail with it."""

    finding: str
    what: str
    file: str
    old: str
    new: str
    test: str


def regressions() -> list[Regression]:
    """Return every row of the table."""
    return [Regression(**row) for row in yaml.safe_load((Path(__file__).parent / "table.yaml").read_text())]
