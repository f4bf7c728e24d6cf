"""Which pages of docs/ are generated, and from what: `make reference` writes them, a test says when one is stale."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.docs.commands_page import commands_page
from tests.docs.environment_page import environment_page
from tests.docs.errors_page import errors_page
from tests.docs.golden_pull_request import pull_request_page
from tests.docs.policies_page import policies_page

PAGES: Mapping[str, Callable[[], str]] = {
    "docs/golden-pull-request.md": pull_request_page,
    "docs/reference/commands.md": commands_page,
    "docs/reference/environment.md": environment_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/policies.md": policies_page,
}
"""Path from the repository's root on → what makes its text."""
