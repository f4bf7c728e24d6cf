"""One region as the reconciler sees it: a reader, a writer, pointers, a runtime and metrics. Data about ports only.

`reconciler.compose` fills it; planning gets `RegionReader`s, the loop gets `Region`s: who plans cannot write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from reconciler.core.canonical import Json
from reconciler.core.model.rollout import Rollout
from reconciler.ports import (
    Gate,
    MetricSource,
    PlatformReader,
    PlatformWriter,
    Pointers,
    Registry,
    Runtime,
    Signer,
    Store,
    capabilities,
)


@dataclass(frozen=True)
class RegionReader:
    """What planning may touch of a region."""

    name: str
    reader: PlatformReader
    pointers: Pointers

    @cached_property
    def can(self) -> frozenset[type]:
        """Return what the region's platform can beyond the least: `KeepsReplicas`, `CountsTraffic`, …"""
        return capabilities(self.reader)


@dataclass(frozen=True)
class Region(RegionReader):
    """What the loop may touch of a region. `runtimes` is keyed by the runtime's name, `metrics` by the source's."""

    writer: PlatformWriter
    runtimes: Mapping[str, Runtime]
    metrics: Mapping[str, MetricSource] = field(default_factory=dict)


def _unknown(name: str, spec: Json) -> Region | None:
    return None


@dataclass(frozen=True)
class Adapters:
    """Everything that the loop works with.

    `clock` gives epoch seconds; `root` is the folder above `environments/`, `reports` the folder that gates write
    reports to. `rebuild` makes a region from what a rollout remembers of it, None where this build cannot.
    `signer` signs the ledger's head at the end of each rollout, where a key is named.
    """

    store: Store
    registry: Registry
    regions: Mapping[str, Region]
    gates: Mapping[str, Gate]
    clock: Callable[[], float]
    root: str
    reports: str
    rebuild: Callable[[str, Json], Region | None] = _unknown
    signer: Signer | None = None

    def with_regions_of(self, rollout: Rollout) -> Adapters:
        """Return what a loop works with for a rollout some of whose regions the file no longer declares."""
        missing = {
            part.region: built
            for part in rollout.regions
            if part.region not in self.regions and part.spec and (built := self.rebuild(part.region, part.spec))
        }
        return replace(self, regions={**self.regions, **missing}) if missing else self
