"""Does traffic follow the weight? If not, that is a fault of routing and no verdict on the release.

Imports the standard library; called by `observe`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SETTLE_S = 60.0  # a weight that changed needs time: open streams finish where they began
WINDOW_HALF_LIFE_S = 180.0
_SIGMAS = 5.0
_TOLERANCE = 0.25  # of the smaller arm: sticky clients and late completions are no fault


@dataclass(frozen=True)
class Routing:
    """The weight in force since `since_s`, and the requests (all, challenger's) seen under it, fading."""

    weight_pct: float = 0.0
    since_s: float = 0.0
    requests: float = 0.0
    challenger: float = 0.0


def follow(routing: Routing, t_s: float, elapsed_s: float, weight_pct: float, arms: tuple[int, int]) -> Routing:
    """Enter one tick's requests (champion, challenger); a changed weight starts the window afresh."""
    if weight_pct != routing.weight_pct:
        return Routing(weight_pct, t_s)
    if t_s - routing.since_s < SETTLE_S:
        return routing
    kept = math.pow(0.5, max(elapsed_s, 0.0) / WINDOW_HALF_LIFE_S)
    return replace(
        routing, requests=kept * routing.requests + sum(arms), challenger=kept * routing.challenger + arms[1]
    )


def fault(routing: Routing) -> str | None:
    """Return what is wrong with the routing in a few words, or None."""
    share = routing.weight_pct / 100.0
    expected = share * routing.requests
    chance = _SIGMAS * math.sqrt(share * (1.0 - share) * routing.requests + 4.0)
    if abs(routing.challenger - expected) <= chance + _TOLERANCE * min(expected, routing.requests - expected):
        return None
    seen = 100.0 * routing.challenger / routing.requests
    return f"weight {routing.weight_pct:g} % is in force, but {seen:.1f} % of {routing.requests:.0f} requests arrived"
