"""Metrics from any HTTP service that answers `{"value": 0.041, "samples": 512}`.

Imports the ports and its siblings; `reconciler.metrics.select` makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from environments.spec import RegionSpec
from reconciler.metrics.answers import ask, not_understood, number
from reconciler.metrics.variables import substitute
from reconciler.ports import Sample


class HttpSource:
    """A `reconciler.ports.MetricSource` whose queries are addresses, with variables in path or query."""

    async def read(self, query: str, variables: Mapping[str, str], window_s: float) -> Sample | None:
        """Return what the service answers; None for HTTP 204 and where `value` is missing, null or not finite."""
        url = substitute(query, variables, window_s=window_s, quote=lambda value: quote(value, safe=""))
        answer = await ask(url, None, where=url)
        if answer is None:
            return None
        if not isinstance(answer, dict):
            raise not_understood(url, f"a {type(answer).__name__} where an object with value and samples belongs")
        value, samples = number(answer.get("value")), number(answer.get("samples"))
        if value is None:
            return None
        if samples is None or samples < 0:
            raise not_understood(url, "`samples` is missing: without it nobody can tell noise from news")
        return Sample(value, int(samples)) if samples else None


def build(region: RegionSpec) -> HttpSource:
    """Return the source, which every region has: its queries are whole addresses."""
    return HttpSource()
