"""The one console that people see. Imports rich; honours NO_COLOR, pipes and CI."""

from __future__ import annotations

import os
import sys

from rich.console import Console

_PIPED_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr; piped output is wide, so that lines stay whole for grep."""
    stream = sys.stderr if stderr else sys.stdout
    live = stream.isatty() and not in_ci()
    return Console(
        file=stream,
        highlight=False,
        soft_wrap=not live,
        width=None if live else _PIPED_WIDTH,
        force_terminal=None if live else False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",  # rich's own handling would leave bold and dim
    )


def in_ci() -> bool:
    """Return whether this is a CI job: nobody watches and nobody can be asked, even where there is a terminal."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
