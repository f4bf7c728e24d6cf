"""Every generated page is what its source says now."""

from __future__ import annotations

import pytest

from tests.docs.pages import PAGES
from tests.support.processes import ROOT


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_what_its_source_says(path: str) -> None:
    page = ROOT / path
    assert page.exists(), f"{path} is missing: make reference"
    assert page.read_text() == PAGES[path](), f"{path} is stale: make reference"
