"""Which pages of docs/ are generated, and from what: `make reference` writes them, a test says when one is stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.docs.errors_page import errors_page

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/errors.md": errors_page,
}
"""Path from the repository's root on → what makes its text."""
