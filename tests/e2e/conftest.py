"""Projects for tests of the whole product."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli import Cli, project


@pytest.fixture
def cli() -> Iterator[Cli]:
    """Give a project with one local region and the model v1 declared and deployed."""
    with project() as made:
        made.declare("file:models/v1")
        made.run("apply", made.name, "--yes", code=0)
        yield made
