"""Does traffic follow the weight? If not, that is a fault of routing and no verdict on the release."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

SETTLE_S = 60.0  # where requests are counted as they end, open streams finish where they began
WINDOW_HALF_LIFE_S = 180.0
_SIGMAS = 5.0
_TOLERANCE = 0.25  # of the smaller arm: sticky clients and late completions are no fault


@dataclass(frozen=True)
class SampleRatio:
    """The weight in force since `since_s`, and the requests (all, challenger's) seen under it, fading."""

    weight_pct: float = 0.0
    since_s: float = 0.0
    requests: float = 0.0
    challenger: float = 0.0


def follow(
    ratio: SampleRatio,
    t_s: float,
    elapsed_s: float,
    weight_pct: float,
    arms: tuple[int, int],
    *,
    by_start: bool = False,
) -> SampleRatio:
    """Enter one tick's requests (champion, challenger); a changed weight starts the window afresh.

    `by_start`: they are requests that began under this weight, so that nothing has to settle first.
    """
    if weight_pct != ratio.weight_pct:
        ratio = SampleRatio(weight_pct, t_s)
    if not by_start and t_s - ratio.since_s < SETTLE_S:
        return ratio
    kept = math.pow(0.5, max(elapsed_s, 0.0) / WINDOW_HALF_LIFE_S)
    return replace(ratio, requests=kept * ratio.requests + sum(arms), challenger=kept * ratio.challenger + arms[1])


def fault(ratio: SampleRatio) -> str | None:
    """Return what is wrong with the routing in a few words, or None."""
    share = ratio.weight_pct / 100.0
    expected = share * ratio.requests
    chance = _SIGMAS * math.sqrt(share * (1.0 - share) * ratio.requests + 4.0)
    if abs(ratio.challenger - expected) <= chance + _TOLERANCE * min(expected, ratio.requests - expected):
        return None
    seen = 100.0 * ratio.challenger / ratio.requests
    return f"weight {ratio.weight_pct:g} % is in force, but {seen:.1f} % of {ratio.requests:.0f} requests arrived"
