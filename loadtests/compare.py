"""Challenger and champion under the same load at the same time, in rounds, until the difference is clear.

Imports numpy and the modules of `loadtests`. Called by the load gate; gives figures and intervals, and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtests.columns import Columns, columns_of, joined
from loadtests.engine import Hooks, run_load
from loadtests.interval import (
    Interval,
    Tails,
    percentile_interval,
    percentile_ratio,
    rate_difference,
    rate_interval,
)
from loadtests.profile import Metric, Profile
from loadtests.result import LoadResult, result_of
from loadtests.target import Target

PAIRS_MIN = 100
_COLUMNS = {"ttft": "ttft_ms", "itl": "itl_ms", "e2e": "e2e_ms"}


@dataclass(frozen=True)
class MetricFigures:
    """One metric of both arms. `change` is challenger over champion for latencies, challenger minus champion for rates.

    Latencies in milliseconds. `pairs` is how many requests both arms measured; everything is None below 100 of them.
    `low` is exceeded with the confidence of the whole comparison for all metrics together, `high` is undercut with
    it for each: a FAIL needs one metric, so its bounds share the chance of error; a PASS needs all of them.
    """

    metric: str
    kind: str
    pairs: int
    champion: float | None = None
    challenger: float | None = None
    change: Interval | None = None


@dataclass(frozen=True)
class SloFigures:
    """One promise of the SLO and what the challenger showed, with bounds. `champion` is the champion's figure."""

    name: str
    limit: float
    samples: int
    challenger: Interval | None
    champion: float | None


@dataclass(frozen=True)
class Comparison:
    """All rounds of a comparison. `rounds[i].arms` are champion and challenger, in this order.

    `outcome`, `code` and `reason` are those of the last round: `completed`, `aborted` or `given_up`.
    """

    profile: str
    confidence: float
    resamples: int
    rounds_max: int
    outcome: str
    code: str | None
    reason: str
    metrics: tuple[MetricFigures, ...]
    slo: tuple[SloFigures, ...]
    rounds: tuple[LoadResult, ...]
    error_rate_margin: float

    @property
    def method(self) -> str:
        """Return in a sentence how the intervals were made."""
        return (
            f"{self.confidence:.0%} confidence for the verdict over up to {self.rounds_max} looks; latency ratios by "
            f"paired circular block bootstrap, {self.resamples} resamples; error rates by Newcombe's score interval"
        )

    @property
    def requests(self) -> int:
        """Return how many measured requests each arm was sent."""
        return max(sum(result.arms[arm].requests for result in self.rounds) for arm in (0, 1))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self) | {"method": self.method, "requests": self.requests}


async def compare(
    profile: Profile,
    *,
    champion: Target,
    challenger: Target,
    decided: Callable[[Comparison], bool],
    folder: Path = Path(),
    hooks: Hooks | None = None,
) -> Comparison:
    """Send both the same requests at the same moments; stop when `decided` says so or after `rounds_max` rounds.

    Each round is one run of the profile with other arrivals and prompts. A round that was stopped is the last.

    Raises:
        SluiceError: as `run_load`.
    """
    results: list[LoadResult] = []
    arms: tuple[list[Columns], list[Columns]] = ([], [])
    while True:
        seeded = profile.model_copy(update={"seed": profile.seed + len(results)})
        run = await run_load(seeded, (champion, challenger), folder=folder, hooks=hooks)
        results.append(result_of(run))
        for index, columns in enumerate(arms):
            columns.append(columns_of(run, index))
        figures = comparison_of(profile, tuple(results), joined(arms[0]), joined(arms[1]))
        if run.outcome != "completed" or len(results) >= profile.compare.rounds_max or decided(figures):
            return figures


def comparison_of(
    profile: Profile, rounds: tuple[LoadResult, ...], champion: Columns, challenger: Columns
) -> Comparison:
    """Return the figures of the rounds so far; pure, and the same for the same input."""
    settings = profile.compare
    alpha = (1 - settings.confidence) / settings.rounds_max
    tails = Tails(low=alpha / (len(settings.metrics) + len(_promises(profile))), high=alpha)
    rng = np.random.default_rng(profile.seed)
    last = rounds[-1]
    return Comparison(
        profile=profile.profile,
        confidence=settings.confidence,
        resamples=settings.resamples,
        rounds_max=settings.rounds_max,
        outcome=last.outcome,
        code=last.code,
        reason=last.reason,
        metrics=tuple(_figures(metric, champion, challenger, profile, tails, rng) for metric in settings.metrics),
        slo=tuple(
            _slo_figures(name, limit, champion, challenger, tails=tails, rng=rng, resamples=settings.resamples)
            for name, limit in _promises(profile)
        ),
        rounds=rounds,
        error_rate_margin=settings.error_rate_margin,
    )


def _promises(profile: Profile) -> tuple[tuple[str, float], ...]:
    return tuple(profile.slo.model_dump(exclude_none=True).items())


def _figures(
    metric: Metric, champion: Columns, challenger: Columns, profile: Profile, tails: Tails, rng: np.random.Generator
) -> MetricFigures:
    if metric == "error_rate":
        return _rate_figures(champion, challenger, tails)
    name, _, percent = metric.partition("_p")
    _, left, right = np.intersect1d(champion.key, challenger.key, assume_unique=True, return_indices=True)
    old, new = (getattr(arm.take(rows), _COLUMNS[name]) for arm, rows in ((champion, left), (challenger, right)))
    both = ~np.isnan(old) & ~np.isnan(new) & (old > 0) & (new > 0)
    pairs = int(both.sum())
    if pairs < PAIRS_MIN:
        return MetricFigures(metric, "ratio", pairs)
    change = percentile_ratio(
        new[both], old[both], percent=float(percent), tails=tails, resamples=profile.compare.resamples, rng=rng
    )
    before, after = (float(np.percentile(arm[both], float(percent))) for arm in (old, new))
    return MetricFigures(metric, "ratio", pairs, before, after, change)


def _rate_figures(champion: Columns, challenger: Columns, tails: Tails) -> MetricFigures:
    pairs = min(len(champion), len(challenger))
    if pairs < PAIRS_MIN:
        return MetricFigures("error_rate", "difference", pairs)
    failed = [int((~arm.ok).sum()) for arm in (champion, challenger)]
    change = rate_difference((failed[1], len(challenger)), (failed[0], len(champion)), tails)
    return MetricFigures(
        "error_rate", "difference", pairs, failed[0] / len(champion), failed[1] / len(challenger), change
    )


def _slo_figures(
    name: str,
    limit: float,
    champion: Columns,
    challenger: Columns,
    *,
    tails: Tails,
    rng: np.random.Generator,
    resamples: int,
) -> SloFigures:
    if name == "error_rate":
        before = float((~champion.ok).mean()) if len(champion) else None
        found = rate_interval(int((~challenger.ok).sum()), len(challenger), tails) if len(challenger) else None
        return SloFigures(name, limit, len(challenger), found, before)
    column = _COLUMNS[name.partition("_")[0]]
    old, new = (getattr(arm, column) for arm in (champion, challenger))
    old, new = old[~np.isnan(old)], new[~np.isnan(new)]
    before = float(np.percentile(old, 95)) if len(old) else None
    if len(new) < PAIRS_MIN:
        return SloFigures(name, limit, len(new), None, before)
    found = percentile_interval(new, percent=95, tails=tails, resamples=resamples, rng=rng)
    return SloFigures(name, limit, len(new), found, before)
