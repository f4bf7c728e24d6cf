"""One region's Envoy: kept running by a supervisor, configured by xDS files, confirmed through the admin API.

Imports this package's parts. Called by `platform` under the region's lock, and without it for reading.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

from environments.errors import SluiceError
from environments.names import slot_object
from environments.spec import LocalRegion
from reconciler import plain_http
from reconciler.core.canonical import Json
from reconciler.platforms.local import admin, xds
from reconciler.platforms.local.admin import AdminError
from reconciler.platforms.local.envoy import bootstrap, envoy_program
from reconciler.platforms.local.inherited import inherited
from reconciler.platforms.local.port_lease import handing_over, reserve, reserve_port
from reconciler.platforms.local.processes import Launch, end_folder, last_words, launch, read_supervised
from reconciler.platforms.local.routes import (
    ROUTES,
    EndpointRoute,
    cluster_config,
    ports_in,
    route_config,
    routes_in,
    table_of,
)
from reconciler.platforms.local.state import read_json, write_json
from reconciler.platforms.local.supervisor import LOG

_START_S = 30.0
_STARTS_MAX = 3
_GRACE_S = 5.0
_PASS_S = 2.0
_OPTIONS = ("--concurrency", "2", "--log-level", "warning")
_SETTINGS, _PORTS = "bootstrap.json", "gateway.json"


@dataclass(frozen=True)
class Ports:
    """What an Envoy listens on; part of what it was started with, like `allow_slot_header`."""

    public: int
    pinned: int
    admin: int
    allow_slot_header: bool


@dataclass(frozen=True)
class Reading:
    """The weights in force. With a `problem` nothing is in force, and the table is what the file intends."""

    table: Mapping[str, EndpointRoute]
    problem: str | None = None


class Gateway:
    """The Envoy of one region. `where` names the region in errors."""

    def __init__(self, folder: Path, spec: LocalRegion, where: str) -> None:
        self._folder, self._spec, self._where = folder, spec, where

    async def read(self) -> Reading:
        """Return what Envoy does now, or what it will do when it is back. Starts nothing, raises nothing.

        Where its admin port is slow and requests pass all the same, that is no trouble: it does what its file says.
        """
        ports = self._ports()
        found = read_supervised(self._folder)
        if ports is None or found is None:
            return Reading(self._intended_or_none(), "the gateway has not been started")
        if not found.running:
            return Reading(self._intended_or_none(), "the gateway and its supervisor are gone")
        in_force = await self._in_force(ports)
        if in_force is not None:
            return Reading(in_force)
        if await self._passes(ports):
            return Reading(self._intended_or_none())
        why = last_words(self._folder / LOG) if not found.generation else "it does not answer"
        return Reading(self._intended_or_none(), f"the gateway is not ready: {why}")

    async def _in_force(self, ports: Ports) -> dict[str, EndpointRoute] | None:
        """Return the table that Envoy has, None when it does not say."""
        try:
            (resource,) = [r for r in await admin.route_tables(ports.admin) if r["name"] == ROUTES]
            return routes_in(resource)
        except (AdminError, KeyError, TypeError, ValueError):
            return None

    async def _passes(self, ports: Ports) -> bool:
        """Return whether the public port answers; there is no endpoint at `/`, so Envoy itself does."""
        try:
            async with asyncio.timeout(_PASS_S):
                status, _ = await plain_http.get("127.0.0.1", ports.public, "/")
        except (OSError, ValueError):
            return False
        return status == HTTPStatus.NOT_FOUND

    async def table(self) -> dict[str, EndpointRoute]:
        """Return the table to change: the file's; where that is damaged or lost, what Envoy has.

        Raises:
            SluiceError: `PLAT-002` the file is of no use and Envoy does not run.
        """
        try:
            return self._intended()
        except SluiceError:
            ports = self._ports()
            in_force = await self._in_force(ports) if ports else None
            if in_force is None:
                raise
            return in_force

    async def ensure(self) -> None:
        """Have Envoy run with this region's settings and answer; do nothing when it does.

        Raises:
            SluiceError: `PLAT-006` its port is taken, and one that runs on another is left as it is; `PLAT-007` not
                installed, `PLAT-008`, `PLAT-010` not ready.
        """
        ports = self._ports()
        if ports is None or not self.is_running() or not self._suits(ports):
            ports = await self._restart(ports)
        await self._until_ready(ports)

    async def apply_clusters(self, ports: Mapping[str, Mapping[str, int]]) -> None:
        """Put clusters in force: endpoint → slot → port.

        Raises:
            SluiceError: `PLAT-009` Envoy refuses them, `PLAT-010` it does not answer; the old ones are back then.
        """
        await self._apply(xds.CLUSTERS, cluster_config(ports))

    async def apply_routes(self, table: Mapping[str, EndpointRoute]) -> None:
        """Put routes in force, whose clusters must be there already.

        Raises:
            SluiceError: `PLAT-009` Envoy refuses them, `PLAT-010` it does not answer; the old ones are back then.
        """
        await self._apply(xds.ROUTES, route_config(table))

    async def active(self, endpoint: str, slot: str) -> int | None:
        """Return the number of requests in flight to a slot, None when Envoy does not say; 0 when it does not run."""
        ports, found = self._ports(), read_supervised(self._folder)
        if ports is None or found is None or not found.generation:
            return 0
        name = f"cluster.{slot_object(endpoint, slot)}.upstream_rq_active"
        try:
            stats = await admin.stats(ports.admin, "Gauges", f"^{re.escape(name)}$")
        except AdminError:
            return None
        return int(stats.get(name, "0"))

    def clusters(self) -> dict[str, dict[str, int]]:
        """Return the ports of the clusters as last put in force, endpoint → slot → port; none where that is lost."""
        try:
            return ports_in(read_json(self._folder / xds.CLUSTERS, self._where) or {"resources": []})
        except (SluiceError, KeyError, TypeError, ValueError, IndexError):
            return {}

    async def counters(self, pattern: str) -> tuple[str, Mapping[str, str]]:
        """Return a text that changes when Envoy restarts, and its counters that match a pattern.

        Raises:
            SluiceError: `PLAT-001` Envoy does not answer.
        """
        ports, found = self._ports(), read_supervised(self._folder)
        try:
            if ports is None or found is None or not found.generation:
                raise AdminError("it does not run now")
            return found.generation, await admin.stats(ports.admin, "Counters", pattern)
        except AdminError as error:
            raise SluiceError(
                "PLAT-001",
                where=self._where,
                what="the gateway's counters cannot be read",
                why=str(error),
                do=f"look at {self._folder / LOG}; the gateway is restarted by itself",
                retryable=True,
            ) from error

    def is_running(self) -> bool:
        """Return whether an Envoy runs here or will be back by itself."""
        found = read_supervised(self._folder)
        return found is not None and found.running and self._ports() is not None

    def pinned_port(self) -> int | None:
        """Return the port of loopback that honours `x-sluice-slot` always; None when the gateway never started."""
        ports = self._ports()
        return ports.pinned if ports else None

    def _suits(self, ports: Ports) -> bool:
        """Return whether Envoy was started with what it would be started with now; another version may want more."""
        if (ports.public, ports.allow_slot_header) != (self._spec.gateway_port, self._spec.allow_slot_header):
            return False
        try:
            return read_json(self._folder / _SETTINGS, self._where) == self._settings(ports)
        except SluiceError:
            return False

    def _settings(self, ports: Ports) -> Json:
        return bootstrap(
            public_port=ports.public,
            pinned_port=ports.pinned,
            admin_port=ports.admin,
            xds=self._folder,
            allow_slot_header=ports.allow_slot_header,
        )

    def _ports(self) -> Ports | None:
        try:
            data = read_json(self._folder / _PORTS, self._where)
            return Ports(**data) if data else None
        except (SluiceError, TypeError):
            return None

    def _intended(self) -> dict[str, EndpointRoute]:
        """Return the table in the file; none when the region was never started.

        Raises:
            SluiceError: `PLAT-001`, `PLAT-002` the file is damaged, or lost although the region was started.
        """
        data = read_json(self._folder / xds.ROUTES, self._where)
        if data is None and self._ports() is not None:
            raise self._of_no_use("lost", "it was there when the gateway was started")
        try:
            return table_of(data) if data is not None else {}
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self._of_no_use("damaged", repr(error)) from error

    def _of_no_use(self, how: str, why: str) -> SluiceError:
        return SluiceError(
            "PLAT-002",
            where=self._where,
            what=f"{self._folder / xds.ROUTES} is {how}",
            why=why,
            do="clear the environment with `sluice down` and apply again",
        )

    def _intended_or_none(self) -> dict[str, EndpointRoute]:
        try:
            return self._intended()
        except SluiceError:
            return {}

    async def _restart(self, old: Ports | None) -> Ports:
        """End what runs and start Envoy; another public port is reserved first, so that a taken one ends nothing."""
        program, port = envoy_program(), self._spec.gateway_port
        table = await self.table()  # or Envoy would be started with no routes where the file is lost
        reserved = [] if old and old.public == port else [reserve_port(port, self._where)]
        with handing_over(reserved):
            if read_supervised(self._folder) is not None:
                await end_folder(self._folder, grace_s=_GRACE_S)
            if not reserved:
                reserved.append(reserve_port(port, self._where))
            reserved += [reserve(f"{self._folder}/{name}") for name in ("pinned", "admin")]
            public, pinned, admin_port = (r.port for r in reserved)
            ports = Ports(public, pinned, admin_port, self._spec.allow_slot_header)
            self._write_start(ports, table)
            await launch(self._folder, self._launch(program), reserved, where=self._where)
        return ports

    def _launch(self, program: str) -> Launch:
        """Return how Envoy is kept running: with the clusters and routes that its files hold."""
        return Launch(
            (program, "-c", str(self._folder / _SETTINGS), "--disable-hot-restart", *_OPTIONS),
            _GRACE_S,
            inherited(os.environ),
            pause_first_s=0.1,
            pause_last_s=5.0,
            stable_s=10.0,
        )

    def _write_start(self, ports: Ports, table: Mapping[str, EndpointRoute]) -> None:
        if not (self._folder / xds.CLUSTERS).exists():
            write_json(self._folder / xds.CLUSTERS, cluster_config({}))
        write_json(self._folder / xds.ROUTES, route_config(table))
        write_json(self._folder / _SETTINGS, self._settings(ports))
        write_json(self._folder / _PORTS, asdict(ports))

    async def _until_ready(self, ports: Ports) -> None:
        until, pause = time.monotonic() + _START_S, 0.01
        while True:
            try:
                await admin.get(ports.admin, "/ready")
            except AdminError as error:
                found = read_supervised(self._folder)
                if time.monotonic() > until or found is None or found.restarts >= _STARTS_MAX:
                    raise xds.silent(self._folder, self._where, f"it does not start: {error}") from error
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.2)
            else:
                return

    async def _apply(self, name: str, response: Json) -> None:
        ports = self._ports() if self.is_running() else None
        await xds.put_in_force(
            self._folder / name, response, admin_port=ports.admin if ports else None, where=self._where
        )
