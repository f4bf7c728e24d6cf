"""What people and editors see: the committed schema, and the text of every kind of spec error.

Both are made anew with `SLUICE_GOLDEN=write pytest tests/golden`, then read in the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

from environments.schema import schema_text
from tests.unit.environments.loading import problems_of
from tests.unit.environments.test_bad_files import BAD_FILES

HERE = Path(__file__).parent
SCHEMA = HERE.parents[1] / "environments" / "schema.json"


def expect_same(path: Path, text: str) -> None:
    """Compare with the committed text, or write it when asked to."""
    if os.environ.get("SLUICE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is out of date: SLUICE_GOLDEN=write makes it anew"


def test_the_committed_schema_is_the_schema() -> None:
    expect_same(SCHEMA, schema_text())


def test_how_errors_read(tmp_path: Path) -> None:
    blocks = []
    for number, bad in enumerate(BAD_FILES):
        problems = problems_of(bad.text, tmp_path / str(number))
        blocks.append(f"## {bad.name}\n" + "\n".join(p.render() for p in problems))
    expect_same(HERE / "spec_errors.txt", "\n\n".join(blocks).replace(f"{tmp_path}/", "") + "\n")
