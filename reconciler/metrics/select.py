"""Which source answers a limit's `source:`; a new source is one line here.

Imports its siblings; the gate for limits gets its sources here.
"""

from __future__ import annotations

from environments.errors import SluiceError, nearest
from reconciler.metrics.http import HttpSource
from reconciler.metrics.prometheus import PrometheusSource
from reconciler.ports import MetricSource

SOURCES = ("http", "prometheus")


def metric_source(source: str, *, prometheus: str | None) -> MetricSource:
    """Return the source that a limit names; `prometheus` is the region's address of one.

    Raises:
        SluiceError: `METRIC-004` unknown, or the region has no Prometheus.
    """
    match source:
        case "http":
            return HttpSource()
        case "prometheus" if prometheus:
            return PrometheusSource(prometheus)
        case "prometheus":
            raise SluiceError(
                "METRIC-004",
                what="a limit asks Prometheus, and its region declares none",
                do="add `prometheus: http://…` to the region",
            )
        case _:
            raise SluiceError("METRIC-004", what=f'unknown metric source "{source}"', why=nearest(source, SOURCES))
