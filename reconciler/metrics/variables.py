"""Variables in the queries of metric limits: `$release`, `$endpoint`, `$region`, `$window`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from environments.errors import SluiceError, nearest

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_]\w*)\}|(?P<plain>[A-Za-z_]\w*))")


def substitute(query: str, variables: Mapping[str, str], *, window_s: float, quote: Callable[[str], str]) -> str:
    """Return the query with its variables filled in, each value passed through `quote`.

    A `$` that no name follows, as at the end of a regular expression, stays. `$window` is a duration such as `300s`.

    Raises:
        SluiceError: `METRIC-003` an unknown variable.
    """
    known = {**variables, "window": f"{max(1, round(window_s))}s"}

    def value(found: re.Match[str]) -> str:
        name = found["braced"] or found["plain"]
        if name not in known:
            raise SluiceError(
                "METRIC-003",
                where=query,
                what=f"unknown variable ${name}",
                why=nearest(name, known),
                do="correct `query:` of this limit in the environment file",
            )
        return quote(known[name])

    return _VARIABLE.sub(value, query)
