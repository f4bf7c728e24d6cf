"""The one console that people see. Imports rich; honours NO_COLOR, pipes and CI."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPED_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr; piped output is wide, so that lines stay whole for grep."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty(), width=width)
