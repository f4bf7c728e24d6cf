"""Regular expressions of a suite, searched for a bounded time while other threads go on.

Python's own `re` holds the whole process while it backtracks, for hours if a pattern asks for it.
"""

from __future__ import annotations

from typing import Any

from environments.errors import SluiceError
from reconciler.gates.eval.packages import needed

SEARCH_S = 2.0


def search(pattern: str, text: str) -> Any:
    """Return the first match of `pattern` in `text`, None when there is none.

    Raises:
        SluiceError: `EVAL-028` the search took more than `SEARCH_S` seconds, `EVAL-025` the package is missing.
    """
    regex = needed("regex")
    try:
        return regex.search(pattern, text, timeout=SEARCH_S, concurrent=True)
    except TimeoutError:
        raise SluiceError(
            "EVAL-028",
            where=pattern[:80],
            what=f"the pattern needs more than {SEARCH_S:g} s on an answer of {len(text):,} characters",
            why="it tries the same characters in ever new ways, so that the time doubles with each of them",
            do="leave out a repeat inside a repeat, such as (a+)+ or (\\w+\\s?)*",
        ) from None
