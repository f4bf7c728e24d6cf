"""Metrics from Prometheus: one instant query a reading.

Imports the ports and its siblings; `reconciler.metrics.select` makes one.
Source: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.spec import RegionSpec
from reconciler.metrics.answers import ask, not_understood, number
from reconciler.metrics.variables import substitute
from reconciler.ports import Sample

ROLE = "sluice"
"""A label with which a query says which of its two series is the `value` and which the number of `samples`."""


class PrometheusSource:
    """A `reconciler.ports.MetricSource` over the server at `url`.

    A query that returns one series is a value, and its samples are the points at which it had one within the window.
    A query that knows better returns two series, labelled `sluice="value"` and `sluice="samples"` (`label_replace`).
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query"

    async def read(self, query: str, variables: Mapping[str, str], window_s: float) -> Sample | None:
        """Return the value now and its number of samples, None when there is no data."""
        text = substitute(query, variables, window_s=window_s, quote=_escaped)
        series = await self._series(text)
        roles = {labels.get(ROLE): found for labels, found in series}
        if "value" in roles:
            value, samples = roles["value"], roles.get("samples")
        elif len(series) > 1:
            raise not_understood(text, f"{len(series)} series; a limit needs one (wrap it in sum() or avg())")
        elif not series:
            return None
        else:
            value, samples = series[0][1], await self._points(text, window_s)
        return None if value is None or samples is None else Sample(value, int(samples))

    async def _points(self, query: str, window_s: float) -> float | None:
        counted = await self._series(f"count_over_time(({query})[{max(1, round(window_s))}s:])")
        return counted[0][1] if counted else None

    async def _series(self, query: str) -> list[tuple[Mapping[str, str], float | None]]:
        """Return labels and value of each series; a scalar is one series without labels."""
        answer = await ask(self._url, {"query": query}, where=query)
        data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
        match data:
            case {"resultType": "vector", "result": list(rows)}:
                return [(row["metric"], number(row["value"][1])) for row in rows]
            case {"resultType": "scalar", "result": [_, value]}:
                return [({}, number(value))]
            case _:
                raise not_understood(query, _said(answer, data))


def build(region: RegionSpec) -> PrometheusSource | None:
    """Return the source over the region's server, None where it names none."""
    return PrometheusSource(region.prometheus) if region.prometheus else None


def _said(answer: Any, data: Any) -> str:
    if isinstance(data, dict):
        return f"a {data.get('resultType')}, not a number now"
    return str(answer.get("error", answer))[:200] if isinstance(answer, dict) else str(answer)[:200]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
