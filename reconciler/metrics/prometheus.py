"""Metrics from Prometheus: one instant query a reading, and the raw counters that it has scraped.

Imports the ports and its siblings; `reconciler.metrics.select` makes one.
Source: https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.spec import RegionSpec
from reconciler.core.canonical import Json
from reconciler.metrics.answers import ask, not_understood, number
from reconciler.metrics.variables import substitute
from reconciler.ports import Sample, Scraped

ROLE = "sluice"
"""A label with which a query says which of its two series is the `value` and which the number of `samples`."""


class PrometheusSource:
    """A `reconciler.ports.MetricSource` over the server at `url`.

    A query that returns one series is a value, and its samples are the points at which it had one within the window.
    A query that knows better returns two series, labelled `sluice="value"` and `sluice="samples"` (`label_replace`).
    """

    def __init__(self, url: str) -> None:
        self.address = url.rstrip("/")
        self._url = f"{self.address}/api/v1/query"

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

    async def last(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        """Return the last value of each series within a window, also of what is not scraped any more."""
        return await self._scraped(f"last_over_time({selector}[{_duration(window_s)}])")

    async def now(self, selector: str) -> tuple[Scraped, ...]:
        """Return the value of each series that is scraped now."""
        return await self._scraped(selector)

    async def ages(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        """Return how many seconds ago each series was scraped last, by the server's own clock.

        The raw samples of a window have their timestamps, and go on being told when scrapes fail, which `timestamp()`
        would not.
        """
        answer = await self._answer(f"{selector}[{_duration(window_s)}]")
        clock = await self._series("time()")
        match answer.get("data"), clock:
            case {"resultType": "matrix", "result": list(rows)}, [(_, float(now))]:
                return tuple(
                    Scraped(
                        row["metric"].get("__name__", ""), row["metric"], max(0.0, now - float(row["values"][-1][0]))
                    )
                    for row in rows
                )
            case data, _:
                raise not_understood(selector, _said(answer, data))

    async def _scraped(self, query: str) -> tuple[Scraped, ...]:
        found = await self._series(query)
        return tuple(Scraped(m.get("__name__", ""), m, value) for m, value in found if value is not None)

    async def _points(self, query: str, window_s: float) -> float | None:
        counted = await self._series(f"count_over_time(({query})[{max(1, round(window_s))}s:])")
        return counted[0][1] if counted else None

    async def _series(self, query: str) -> list[tuple[Mapping[str, str], float | None]]:
        """Return labels and value of each series; a scalar is one series without labels."""
        answer = await self._answer(query)
        data = answer.get("data")
        match data:
            case {"resultType": "vector", "result": list(rows)}:
                return [(row["metric"], number(row["value"][1])) for row in rows]
            case {"resultType": "scalar", "result": [_, value]}:
                return [({}, number(value))]
            case _:
                raise not_understood(query, _said(answer, data))

    async def _answer(self, query: str) -> Json:
        """Return what is answered to an instant query; without `data` where it is an error."""
        answer = await ask(self._url, {"query": query}, where=query)
        if isinstance(answer, dict) and answer.get("status") == "success":
            return answer
        return {"error": answer.get("error", answer) if isinstance(answer, dict) else answer}


def _duration(window_s: float) -> str:
    return f"{max(1, round(window_s))}s"


def build(region: RegionSpec) -> PrometheusSource | None:
    """Return the source over the region's server, None where it names none."""
    return PrometheusSource(region.prometheus) if region.prometheus else None


def _said(answer: Json, data: Any) -> str:
    if isinstance(data, dict):
        return f"a {data.get('resultType')}, not a number now"
    return str(answer.get("error", answer))[:200]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
