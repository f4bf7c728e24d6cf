"""What a decision rests on: metrics and gates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release
from reconciler.ports.serving import Scraped, SlotCounts


@dataclass(frozen=True)
class Sample:
    """A metric's value over a window, with the number of observations behind it and its unit in words, if known."""

    value: float
    samples: int
    unit: str = ""


class MetricSource(Protocol):
    """Reads business metrics that have no concurrent baseline."""

    async def read(self, query: str, variables: Mapping[str, str], window_s: float) -> Sample | None:
        """Return the value over the last `window_s` seconds, None when there is no data: never zero instead."""
        ...


class Collected(Protocol):
    """Whoever has scraped the counters of others: raw values as they were counted, never rates.

    Selectors are PromQL's. Of each series that one names there is one sample, with all labels that it has there.
    """

    @property
    def address(self) -> str:
        """Return where it is, for people who have to look there."""
        ...

    async def last(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        """Return the last values within a window, also of what is not scraped any more.

        Raises:
            SluiceError: `METRIC-001` out of reach (retryable), `METRIC-002` the answer is of no use.
        """
        ...

    async def now(self, selector: str) -> tuple[Scraped, ...]:
        """Return the values of what is scraped now: a series that was not in the last scrape is left out.

        Raises:
            SluiceError: as `last`.
        """
        ...

    async def ages(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        """Return how many seconds ago each was scraped last, within a window, by the clock of whoever scraped it.

        Raises:
            SluiceError: as `last`.
        """
        ...


CollectedAt = Callable[[str], Collected]


@dataclass(frozen=True)
class GateProgress:
    """Where a gate stands that is being asked: what it has so far in words, and the most seconds that it may take."""

    gate: str
    words: str
    elapsed_s: float
    limit_s: float | None = None


def untold(progress: GateProgress) -> None:
    """Tell nobody."""


LiveCounts = Callable[[], Awaitable[SlotCounts | None]]


@dataclass(frozen=True)
class GateContext:
    """What a gate may look at: the challenger and champion of one endpoint in one region, reached past the weights.

    `settings` is the gate's own block with the endpoint's `slo`; paths in it are relative to `root`. `reports` is a
    folder for reports. `live` reads the champion's counters, so that a gate can stop when its users suffer.
    `alpha` is the most chance with which this gate may FAIL a challenger that is no worse: its share of the rollout's.
    `challenger_servers` is how many servers answer for the challenger. `progress` is told where the gate stands, for
    whoever watches.
    """

    address: Address
    rollout: str
    challenger: Release
    challenger_url: str
    champion: Release | None
    champion_url: str | None
    settings: Json
    root: str
    reports: str
    live: LiveCounts
    alpha: float = 0.01
    challenger_servers: int = 1
    progress: Callable[[GateProgress], None] = untold


@dataclass(frozen=True)
class GateEvidence:
    """What a gate found: figures for people and machines, a verdict's name, and a sentence that says why."""

    gate: str
    verdict: str
    sentence: str
    figures: Json = field(default_factory=dict)
    links: tuple[str, ...] = ()


class Gate(Protocol):
    """A rule that needs evidence before the next step."""

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Refuse settings, and files below `root` that they name, which could never give evidence: before a plan.

        Raises:
            SluiceError: what `evidence` would raise for them.
        """
        ...

    def digest(self, settings: Mapping[str, Any], root: Path) -> str:
        """Return a digest over the content of every file that the settings name: what decides is what was approved.

        Raises:
            SluiceError: as `check`.
        """
        ...

    def remarks_without_champion(self, settings: Mapping[str, Any], root: Path) -> tuple[str, ...]:
        """Return why the gate could not pass a first deployment, with what to do; empty when it could.

        Raises:
            SluiceError: as `check`.
        """
        ...

    async def evidence(self, context: GateContext) -> GateEvidence:
        """Collect evidence. A gate that breaks raises; the loop turns that into the verdict ERROR."""
        ...
