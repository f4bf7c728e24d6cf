"""What the rounds of a load show together: latencies and errors of both arms, and promises kept or broken. Pure.

Errors of the verdict are bounded over every look at it: look k may be wrong with its part 1/(k(k+1)) of the whole
chance, and these parts add up to one however many looks there are. So rounds may go on as long as there is time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from loadtests.columns import NOTHING_LEFT_OUT, Columns, LeftOut
from loadtests.interval import Interval, Tails, percentile_interval, percentile_ratio, rate_difference, rate_interval
from loadtests.profile import Metric, Profile
from loadtests.result import LoadResult

PAIRS_MIN = 100
_COLUMNS = {"ttft": "ttft_ms", "itl": "itl_ms", "e2e": "e2e_ms"}


@dataclass(frozen=True)
class MetricFigures:
    """One metric of both arms. `change` is challenger over champion for latencies, challenger minus champion for rates.

    Latencies in milliseconds. `pairs` is how many requests both arms measured; everything is None below 100 of them.
    `low` is exceeded with the chance `alpha` allows for all metrics and promises together, `high` is undercut with the
    profile's confidence for each: a FAIL needs one of them, so they share its chance of error; a PASS needs all.
    """

    metric: str
    kind: str
    pairs: int
    champion: float | None = None
    challenger: float | None = None
    change: Interval | None = None


@dataclass(frozen=True)
class SloFigures:
    """One promise of the SLO, and what both arms showed, with bounds; None with too few samples, or no champion."""

    name: str
    limit: float
    samples: int
    challenger: Interval | None
    champion: Interval | None


@dataclass(frozen=True)
class Comparison:
    """All rounds so far. `rounds[i].arms` are champion and challenger, in this order, or the challenger alone.

    `looks` counts the verdicts that were tried, those of an earlier process included. `outcome`, `code` and `reason`
    are those of the last round: `completed`, `aborted` or `given_up`. `out_of_time` says that no further round fits.
    """

    profile: str
    alpha: float
    confidence: float
    looks: int
    requests: int
    champion_ok: int | None
    left_out: LeftOut
    outcome: str
    code: str | None
    reason: str
    metrics: tuple[MetricFigures, ...]
    slo: tuple[SloFigures, ...]
    rounds: tuple[LoadResult, ...]
    error_rate_margin: float
    out_of_time: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    """Promise → where it stands: the key of the environment file, or the profile."""

    @property
    def method(self) -> str:
        """Return in a sentence how the intervals were made."""
        return (
            f"a FAIL may be wrong with chance {self.alpha:g}, a PASS with {1 - self.confidence:.2g}, over all looks, "
            f"metrics and promises together ({self.looks} so far); percentiles by the share of paired requests that "
            "pass them, with Student's t over batches of neighbours; error rates by Newcombe's score interval"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; a bound that nothing supports yet is null."""
        found: dict[str, Any] = finite(asdict(self) | {"method": self.method, "sources": dict(self.sources)})
        return found


def finite(value: Any) -> Any:
    """Return JSON data in which infinite numbers are null."""
    match value:
        case float() if not np.isfinite(value):
            return None
        case dict():
            return {key: finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [finite(inner) for inner in value]
        case _:
            return value


def comparison_of(
    profile: Profile,
    rounds: tuple[LoadResult, ...],
    champion: Columns | None,
    challenger: Columns,
    *,
    alpha: float,
    looks: int,
    left_out: LeftOut = NOTHING_LEFT_OUT,
) -> Comparison:
    """Return the figures of the rounds so far; the same for the same input."""
    settings, last = profile.compare, rounds[-1]
    promises = tuple(profile.slo.model_dump(exclude_none=True).items())
    tails = tails_of(alpha, 1 - settings.confidence, looks, demands=len(settings.metrics) + len(promises))
    compared = settings.metrics if champion is not None else []
    return Comparison(
        profile=profile.profile,
        alpha=alpha,
        confidence=settings.confidence,
        looks=looks,
        requests=max(len(challenger), len(champion) if champion is not None else 0),
        champion_ok=None if champion is None else int(champion.ok.sum()),
        left_out=left_out,
        outcome=last.outcome,
        code=last.code,
        reason=last.reason,
        metrics=tuple(_figures(metric, champion, challenger, tails) for metric in compared if champion is not None),
        slo=tuple(_promise(name, limit, champion, challenger, tails) for name, limit in promises),
        rounds=rounds,
        error_rate_margin=settings.error_rate_margin,
    )


def tails_of(alpha: float, beta: float, look: int, *, demands: int) -> Tails:
    """Return the chances of error at one look: of a FAIL for each of `demands`, and of a PASS."""
    part = 1 / (look * (look + 1))
    return Tails(low=alpha * part / demands, high=beta * part)


def _figures(metric: Metric, champion: Columns, challenger: Columns, tails: Tails) -> MetricFigures:
    old, new = paired(champion, challenger)
    if metric == "error_rate":
        return _rate_figures(champion, challenger, (old, new), tails)
    name, _, percent = metric.partition("_p")
    before, after = (getattr(arm, _COLUMNS[name]) for arm in (old, new))
    both = ~np.isnan(before) & ~np.isnan(after) & (before > 0) & (after > 0) & old.timely & new.timely
    pairs = int(both.sum())
    if pairs < PAIRS_MIN:
        return MetricFigures(metric, "ratio", pairs)
    change = percentile_ratio(after[both], before[both], percent=float(percent), tails=tails)
    shown = [float(np.percentile(arm[both], float(percent))) for arm in (before, after)]
    return MetricFigures(metric, "ratio", pairs, shown[0], shown[1], change)


def _rate_figures(
    champion: Columns, challenger: Columns, pairs: tuple[Columns, Columns], tails: Tails
) -> MetricFigures:
    count = min(len(champion), len(challenger))
    if count < PAIRS_MIN:
        return MetricFigures("error_rate", "difference", count)
    old, new = pairs
    apart = old.ok.astype(np.float64) - new.ok.astype(np.float64)
    change = rate_difference(~challenger.ok, ~champion.ok, tails, paired=apart)
    shown = [float((~arm.ok).mean()) for arm in (champion, challenger)]
    return MetricFigures("error_rate", "difference", count, shown[0], shown[1], change)


def paired(champion: Columns, challenger: Columns) -> tuple[Columns, Columns]:
    """Return the rows that both arms have, each as long as the other and in the order of time."""
    _, left, right = np.intersect1d(champion.key, challenger.key, assume_unique=True, return_indices=True)
    order = np.argsort(champion.at_s[left], kind="stable")
    return champion.take(left[order]), challenger.take(right[order])


def _promise(name: str, limit: float, champion: Columns | None, challenger: Columns, tails: Tails) -> SloFigures:
    found, samples = _kept(name, challenger, tails)
    # The champion's own bounds acquit the challenger, so they have the chance of error of a conviction.
    theirs = None if champion is None else _kept(name, champion, Tails(tails.low, tails.low))[0]
    return SloFigures(name, limit, samples, found, theirs)


def _kept(name: str, arm: Columns, tails: Tails) -> tuple[Interval | None, int]:
    """Return an arm's figure for a promise with its bounds, and how many requests it is made from."""
    if name == "error_rate":
        return (rate_interval(~arm.ok, tails) if len(arm) >= PAIRS_MIN else None), len(arm)
    values = getattr(arm, _COLUMNS[name.partition("_")[0]])
    values = values[~np.isnan(values) & arm.timely]
    if len(values) < PAIRS_MIN:
        return None, len(values)
    return percentile_interval(values, percent=95, tails=tails), len(values)
