"""Every generated page is what its source says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from environments.load import load
from tests.docs.pages import PAGES
from tests.support.processes import ROOT


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_what_its_source_says(path: str) -> None:
    page = ROOT / path
    assert page.exists(), f"{path} is missing: make reference"
    assert page.read_text() == PAGES[path](), f"{path} is stale: make reference"


def test_the_shortest_file_of_the_reference_loads(tmp_path: Path) -> None:
    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/reference/environment.md").read_text(), re.DOTALL)
    assert shown
    file = tmp_path / "environments" / "dev.yaml"
    file.parent.mkdir()
    file.write_text(shown[1])
    assert load(file).spec.environment == "dev"
