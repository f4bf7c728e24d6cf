"""Which source answers a limit's `source:`: the module of that name, with its function `build`."""

from __future__ import annotations

from typing import get_args

from environments.here import thing
from environments.spec import MetricSourceName, RegionSpec
from reconciler.ports import MetricSource

SOURCES = tuple(name for name in get_args(MetricSourceName) if name != "traffic")
"""The sources that are asked; `traffic` is what was counted already."""


def sources_of(region: RegionSpec) -> dict[str, MetricSource]:
    """Return the sources that a region has, by name; each module says whether the region declares what it needs."""
    built = {name: thing(f"reconciler.metrics.{name}:build")(region) for name in SOURCES}
    return {name: source for name, source in built.items() if source is not None}
