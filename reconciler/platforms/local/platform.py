"""The local platform: reader, writer and traffic counts of one region on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from environments.errors import SluiceError
from environments.names import SLOTS, Address
from environments.spec import LocalRegion
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Release, kind_of_model
from reconciler.platforms.local import slots, traffic
from reconciler.platforms.local.fences import fenced
from reconciler.platforms.local.gateway import Gateway, Reading
from reconciler.platforms.local.routes import EndpointRoute
from reconciler.platforms.local.state import Layout, digests_in_slots, locked, write_slot
from reconciler.platforms.splits import WEIGHT_RESOLUTION_PCT, check_weights
from reconciler.platforms.undertakings import Tell, Undertakings
from reconciler.ports import Cohort, Files, InProgress, Runtime, SlotAddress, SlotCounts

_SLOT_WAIT_S = 5.0
_DRAIN_LOOK_S = 0.05
_DRAIN_LOOKS = 600


class LocalPlatform:
    """PlatformReader, PlatformWriter, CountsTraffic and CountsByStart for one local region. Holds no state of its own.

    `home` is the state folder (`.sluice`), `runtime_for` gives the runtime of a release, `files` the folders that
    servers are started with.
    """

    def __init__(
        self,
        environment: str,
        region: str,
        spec: LocalRegion,
        runtime_for: Callable[[str], Runtime],
        home: Path,
        *,
        files: Files,
    ) -> None:
        self._environment, self._region, self._spec = environment, region, spec
        self._runtime_for, self._files, self._home = runtime_for, files, home.resolve()
        self._layout = Layout(self._home / environment / region)
        self._undertakings = Undertakings()
        self._gateway = Gateway(self._layout.gateway, spec, f"{environment}/{region}")

    async def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[tuple[ObservedEndpoint, ...]]:
        """Yield every slot and weight, in one page; nothing is changed, but who was seen ready is noted.

        Raises:
            SluiceError: `PLAT-001` the state folder cannot be read.
        """
        reading = await self._gateway.read()
        present = {*self._layout.endpoints(), *reading.table}
        names = sorted(present if endpoints is None else set(endpoints))
        yield tuple(await asyncio.gather(*(self._observe(name, reading) for name in names)))

    async def start(self, slot: SlotAddress, release: Release, *, fence: int, replicas: int = 1) -> InProgress | None:
        """Run a release in a slot, which keeps one server; do nothing when it runs there already.

        What it is started with is found before anything is ended: it may have to be copied, and it may be gone.

        Raises:
            SluiceError: `PLAT-003` the slot serves another release; `PLAT-006` to `PLAT-012`, `PLAT-016`; `LEASE-002`;
                those of finding the release's files.
        """

        async def work(tell: Tell) -> None:
            async with self._slot_lock(slot):
                async with self._region_lock(slot.address, fence):
                    runs = await self._runs(slot, release)
                    await self._gateway.ensure()
                if not runs:
                    tell("its files are fetched and verified")
                    paths = await self._paths(release)
                    await self._replace(slot, release, paths, fence, tell)
                async with self._region_lock(slot.address, fence):
                    await self._converge()
            await self._let_go()

        await self._undertakings.end(str(slot.address))  # it is not being removed any more
        return await self._undertakings.ask(str(slot), ("start", release.id, fence), work)

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> None:
        """Remember that the slot's present server is warm.

        Raises:
            SluiceError: `PLAT-003` no server runs there; `LEASE-002`.
        """
        async with self._region_lock(slot.address, fence):
            seen = slots.look(self._folder(slot), str(slot))
            if seen.record is None or not seen.generation:
                raise SluiceError(
                    "PLAT-003",
                    where=str(slot),
                    what="the slot cannot be marked as warm",
                    why="no server runs there now",
                    do="wait until it runs again and warm it up then",
                    retryable=True,
                )
            if seen.record.warm != seen.generation:
                write_slot(self._folder(slot), replace(seen.record, warm=seen.generation))

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> None:
        """Split traffic by these weights; return when Envoy says that they are in force.

        Raises:
            SluiceError: `PLAT-004`, `PLAT-005` bad weights; `PLAT-009`, `PLAT-010` Envoy did not take them and has
                the old ones; `LEASE-002`.
        """
        async with self._region_lock(endpoint, fence):
            serving = self._serving(endpoint.endpoint)
            check_weights(endpoint, weights_pct, serving)
            await self._gateway.ensure()
            weights = {slot: float(weights_pct.get(slot, 0.0)) for slot in SLOTS}
            await self._converge({endpoint.endpoint: weights})

    async def stop(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Empty a slot without weight after its requests in flight; succeed when it is empty.

        Raises:
            SluiceError: `PLAT-003` it has weight; `PLAT-009`, `PLAT-010`, `PLAT-012`, `PLAT-013`; `LEASE-002`.
        """

        async def work(tell: Tell) -> None:
            async with self._slot_lock(slot):
                async with self._region_lock(slot.address, fence):
                    table = await self._gateway.table()
                    if slot.address.endpoint not in {*table, *self._layout.endpoints()}:
                        return
                    line = table.get(slot.address.endpoint, EndpointRoute())
                    if line.weights_pct.get(slot.slot, 0.0) > 0:
                        raise _serving(slot, line.weights_pct[slot.slot])
                    self._mark_stopping(slot)
                await self._empty(slot, tell)
                async with self._region_lock(slot.address, fence):
                    await self._converge()
            await self._let_go()

        return await self._undertakings.ask(str(slot), ("stop", fence), work)

    async def remove(self, endpoint: Address, *, fence: int) -> InProgress | None:
        """Take an endpoint out of the gateway, then empty its slots; succeed when it is gone.

        Raises:
            SluiceError: `PLAT-009`, `PLAT-010`, `PLAT-012`, `PLAT-013`; `LEASE-002`.
        """
        places = [SlotAddress(endpoint, slot) for slot in SLOTS]

        async def work(tell: Tell) -> None:
            async with self._region_lock(endpoint, fence):
                table = await self._gateway.table()
                if endpoint.endpoint not in {*table, *self._layout.endpoints()}:
                    return
                await self._gateway.apply_routes({n: line for n, line in table.items() if n != endpoint.endpoint})
                for place in places:
                    self._mark_stopping(place)
            for place in places:
                async with self._slot_lock(place):
                    await self._empty(place, tell)
            async with self._region_lock(endpoint, fence):
                await self._gateway.apply_clusters(self._ports(await self._gateway.table()))
            await self._let_go()

        await self._undertakings.end(*(str(place) for place in places))
        return await self._undertakings.ask(str(endpoint), ("remove", fence), work)

    async def traffic(self, endpoint: Address) -> Mapping[str, SlotCounts]:
        """Return requests, errors and rejections by slot as clients saw them at the gateway.

        Raises:
            SluiceError: `PLAT-001` the gateway does not answer.
        """
        epoch, counters = await self._gateway.counters(traffic.totals_pattern(endpoint.endpoint))
        return traffic.counts_by_slot(endpoint.endpoint, counters, epoch)

    async def cohorts(self, endpoint: Address, *, since_s: float) -> Mapping[str, tuple[Cohort, ...]]:
        """Return requests by slot and by the window and weights in which they began, of the last half hour at most.

        Raises:
            SluiceError: `PLAT-001` the gateway does not answer.
        """
        _, counters = await self._gateway.counters(traffic.cohorts_pattern(endpoint.endpoint))
        return traffic.cohorts_by_slot(endpoint.endpoint, counters, since_s=since_s, now=time.time())

    def pinned_port(self) -> int | None:
        """Return the port of loopback on which `x-sluice-slot` always holds; None before the gateway's first start."""
        return self._gateway.pinned_port()

    async def _runs(self, slot: SlotAddress, release: Release) -> bool:
        """Return whether the release runs in the slot. Call under the region's lock.

        Raises:
            SluiceError: `PLAT-003` the slot serves another one.
        """
        line = (await self._gateway.table()).get(slot.address.endpoint, EndpointRoute())
        seen = slots.look(self._folder(slot), str(slot))
        held = seen.record.release.id if seen.record else line.releases.get(slot.slot)
        if line.weights_pct.get(slot.slot, 0.0) > 0 and held != release.id:
            raise _serving(slot, line.weights_pct[slot.slot])
        return seen.serving and held == release.id

    async def _replace(
        self, slot: SlotAddress, release: Release, paths: Mapping[str, str], fence: int, tell: Tell
    ) -> None:
        """End what runs in a slot and start a release there. Call under the slot's lock."""
        async with self._region_lock(slot.address, fence):
            await self._runs(slot, release)  # the slot may have been given weight while files were copied
            self._mark_stopping(slot)  # from here on nobody gives it any
        await self._empty(slot, tell)
        runtime = self._runtime_for(release.runtime)
        await slots.start_server(self._folder(slot), release, runtime, self._spec, paths=paths, where=str(slot))

    async def _paths(self, release: Release) -> dict[str, str]:
        """Return the folders of everything that the release's server loads, keyed as its lineage is."""
        loaded = {"model": (release.model, kind_of_model(release.runtime))}
        loaded |= {f"adapters.{name}": (found, "adapter") for name, found in release.adapters.items()}
        return {key: str(await self._files.folder(found, kind=kind)) for key, (found, kind) in loaded.items()}

    async def _let_go(self) -> None:
        """Let go of files that no slot of this machine was started with; of none where that is not known."""
        needed = await asyncio.to_thread(digests_in_slots, self._home)
        if needed is not None:
            await self._files.keep(needed)

    async def _observe(self, name: str, reading: Reading) -> ObservedEndpoint:
        line = reading.table.get(name, EndpointRoute())
        address = Address(self._environment, self._region, name)
        found = await asyncio.gather(
            *(
                slots.observed(
                    self._layout.slot(name, slot),
                    line.weights_pct.get(slot, 0.0),
                    line.releases.get(slot),
                    self._runtime_for,
                    f"{address}/{slot}",
                )
                for slot in SLOTS
            )
        )
        by_slot = dict(zip(SLOTS, found, strict=True))
        used = any(slot.release for slot in found) or name in reading.table
        return ObservedEndpoint(
            address,
            by_slot,
            gateway_problem=reading.problem if used else None,
            weight_resolution_pct=WEIGHT_RESOLUTION_PCT,
        )

    async def _empty(self, slot: SlotAddress, tell: Tell) -> None:
        """Let a slot's requests in flight finish, end its server and forget it. Call under the slot's lock."""
        for _ in range(_DRAIN_LOOKS):
            active = await self._gateway.active(slot.address.endpoint, slot.slot)
            if active == 0:
                break
            tell("requests in flight end")
            await asyncio.sleep(_DRAIN_LOOK_S)
        tell("its server ends")
        await slots.end_server(self._folder(slot), where=str(slot))

    async def _converge(self, weights_pct: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Bring the gateway's clusters and routes in line with the slots, with new weights for some endpoints.

        Clusters come first: a route must never name one that is not there.
        """
        table = await self._gateway.table()
        changed = weights_pct or {}
        for name in {*table, *self._layout.endpoints()}:
            line = table.get(name, EndpointRoute())
            for slot in SLOTS:
                seen = slots.look(self._layout.slot(name, slot), name)
                lost = seen.record is None and line.weights_pct.get(slot, 0.0) > 0
                if seen.damage is None and not lost:
                    line = line.with_release(slot, seen.record.release.id if seen.record else None)
            table[name] = replace(line, weights_pct=changed.get(name, line.weights_pct))
        await self._gateway.apply_clusters(self._ports(table))
        await self._gateway.apply_routes(table)

    def _ports(self, table: Mapping[str, EndpointRoute]) -> dict[str, dict[str, int]]:
        """Return the ports of all servers, endpoint → slot → port, with every endpoint that has a route.

        A slot that serves and has no record keeps the port that the gateway has for it: nobody may cut it off.
        """
        known, found = self._gateway.clusters(), dict[str, dict[str, int]]()
        for name in {*table, *self._layout.endpoints()}:
            weights_pct = table.get(name, EndpointRoute()).weights_pct
            records = {slot: slots.look(self._layout.slot(name, slot), name).record for slot in SLOTS}
            kept = {slot: port for slot, port in known.get(name, {}).items() if weights_pct.get(slot, 0.0) > 0}
            found[name] = kept | {slot: record.port for slot, record in records.items() if record}
        return found

    def _serving(self, endpoint: str) -> dict[str, str]:
        """Return the release id of every slot that may get weight."""
        seen = {slot: slots.look(self._layout.slot(endpoint, slot), endpoint) for slot in SLOTS}
        return {slot: s.record.release.id for slot, s in seen.items() if s.serving and s.record}

    def _mark_stopping(self, slot: SlotAddress) -> None:
        seen = slots.look(self._folder(slot), str(slot))
        if seen.record and not seen.record.stopping:
            write_slot(self._folder(slot), replace(seen.record, stopping=True))

    def _folder(self, slot: SlotAddress) -> Path:
        return self._layout.slot(slot.address.endpoint, slot.slot)

    def _slot_lock(self, slot: SlotAddress) -> AbstractAsyncContextManager[None]:
        return locked(self._folder(slot).with_suffix(".lock"), wait_s=_SLOT_WAIT_S, where=str(slot))

    def _region_lock(self, address: Address, fence: int) -> AbstractAsyncContextManager[None]:
        return fenced(self._layout, address, fence)


def _serving(slot: SlotAddress, weight_pct: float) -> SluiceError:
    return SluiceError(
        "PLAT-003",
        where=str(slot),
        what=f"the slot serves {weight_pct:g} % of the traffic and was left as it is",
        why="ending its server would fail requests",
        do="give the weight to the other slot first; `sluice apply` and `sluice rollback` do that",
    )
