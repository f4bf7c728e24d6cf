"""What Envoy counts of the public port, told to it as access logs: finished requests by slot, and cohorts by start."""

from __future__ import annotations

from reconciler.core.canonical import Json
from reconciler.ports import REJECTIONS

TOTALS, COHORTS = "sluice", "sluice_cohort"
"""First words of the statistics: totals since Envoy's start, and requests by window and weights."""
WINDOW_S = 10
MEMORY_S = 1800
"""How long a cohort is remembered after its window opened. Envoy lives for months: it must forget, or fill up."""
NOTE, SPLIT = "sluice", "split"
"""Where a route's metadata names the weights. A request keeps its route, so one in flight keeps its weights."""
ABANDONED_MS = 10_000
"""A client that leaves after this long without one byte of an answer counts as failed, not as a change of mind."""
_BROKEN = ("UH", "UF", "UC", "UR", "UO", "UT", "UPE", "URX", "UMSDR", "LR", "LH", "NR", "NC", "NFCF", "OM", "SI")
"""Response flags of an answer that did not arrive whole through no doing of the client.

Source: Envoy's documentation of access logging, "%RESPONSE_FLAGS%".
"""
_STATS_LOG = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
_CLUSTER: Json = {"name": "cluster", "value_format": "%UPSTREAM_CLUSTER%"}
_WINDOW: Json = {"name": "window", "value_format": f"%CEL(int(request.time) / {WINDOW_S})%"}
_WEIGHTS: Json = {"name": "weights", "value_format": f"%METADATA(ROUTE:{NOTE}:{SPLIT})%"}
_FORGETS: Json = {"prefix": COHORTS, "enable_eviction": True}


def access_logs() -> list[Json]:
    """Return the access logs, which write nothing but count.

    Envoy calls this extension unfinished, so its version is pinned and a test counts with it. Cluster statistics would
    count an answer that broke midway twice or never, and retries as requests.
    """
    begun, ended = (_logged_at(moment) for moment in ("DownstreamStart", "DownstreamEnd"))
    outcomes = {"errors": _all(ended, _failures()), "rejected": _all(ended, _rejections())}
    totals = {"requests": ended} | outcomes
    cohorts = {"begun": begun, "ended": ended} | outcomes
    return [
        *(_counter(name, chosen, {"prefix": TOTALS}, [_CLUSTER]) for name, chosen in totals.items()),
        *(_counter(name, chosen, _FORGETS, [_CLUSTER, _WINDOW, _WEIGHTS]) for name, chosen in cohorts.items()),
    ]


def forgetting() -> Json:
    """Return the part of the bootstrap that lets cohorts go.

    A sweep removes what was not counted since the sweep before, so a counter outlives its last request by `MEMORY_S`.
    """
    return {"stats_flush_interval": "5s", "stats_eviction_interval": f"{MEMORY_S}s"}


def _counter(name: str, chosen: Json, scope: Json, tags: list[Json]) -> Json:
    stat = {"name": name, "tags": tags}
    config = {"@type": _STATS_LOG, "stats_scope": scope, "counters": [{"stat": stat, "value_fixed": 1}]}
    return {"name": "envoy.access_loggers.stats", "filter": chosen, "typed_config": config}


def _failures() -> Json:
    """Return the filter for requests that failed as their client saw it; leaving early is the client's own doing."""
    server_error = {"status_code_filter": {"comparison": _at_least(500, "server_error")}}
    broken = {"response_flag_filter": {"flags": list(_BROKEN)}}
    left = {"response_flag_filter": {"flags": ["DC"]}}
    waited = {"duration_filter": {"comparison": _at_least(ABANDONED_MS, "abandoned_ms")}}
    abandoned = _all(left, _status_is(0, "no_status"), waited)
    return {"or_filter": {"filters": [server_error, broken, abandoned]}}


def _rejections() -> Json:
    """Return the filter for requests that the server refused as their client's mistake."""
    return {"or_filter": {"filters": [_status_is(status, f"rejected_{status}") for status in REJECTIONS]}}


def _logged_at(moment: str) -> Json:
    return {"log_type_filter": {"types": [moment]}}


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _status_is(status: int, key: str) -> Json:
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": _value(status, key)}}}


def _at_least(value: int, key: str) -> Json:
    return {"op": "GE", "value": _value(value, key)}


def _value(value: int, key: str) -> Json:
    return {"default_value": value, "runtime_key": f"sluice.{key}"}
