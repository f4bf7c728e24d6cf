"""The list of mutants that no test can, or need, tell from the source, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Survivor:
    """A mutant by its function and the line that it changes, and why it may live."""

    where: str
    old: str
    new: str
    why: str


def survivors() -> tuple[Survivor, ...]:
    """Return every row of the list."""
    return tuple(Survivor(**row) for row in yaml.safe_load((Path(__file__).parent / "survivors.yaml").read_text()))
