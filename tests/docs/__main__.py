"""`python -m tests.docs` (`make reference`): write every generated page."""

from __future__ import annotations

from tests.docs.pages import PAGES
from tests.support.processes import ROOT

if __name__ == "__main__":
    for path, text in PAGES.items():
        page = ROOT / path
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text())
        print(path)
