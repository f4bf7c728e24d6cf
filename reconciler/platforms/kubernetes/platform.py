"""The platform `kubernetes`: reader, writer and counts of one region's cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from environments.errors import SluiceError
from environments.names import ENDPOINT_LABEL, SLOT_LABEL, SLOTS, Address
from environments.spec import EnvironmentSpec, KubernetesRegion
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes.adopting import Adopting
from reconciler.platforms.kubernetes.artifacts import cold_start_s
from reconciler.platforms.kubernetes.collected import CollectedServers
from reconciler.platforms.kubernetes.copies import Copies
from reconciler.platforms.kubernetes.doors import doors_inside
from reconciler.platforms.kubernetes.fences import Fences
from reconciler.platforms.kubernetes.machines import blameless
from reconciler.platforms.kubernetes.observed import Doors, EndpointObjects, View, observed
from reconciler.platforms.kubernetes.placement import gateway_of, placement
from reconciler.platforms.kubernetes.reading import KubeClient, Reading
from reconciler.platforms.kubernetes.refusals import autoscaled, check_placement, no_gateway, nothing_runs
from reconciler.platforms.kubernetes.slots import Slots
from reconciler.platforms.kubernetes.traffic import Stats, Totals
from reconciler.platforms.kubernetes.weights import Weights
from reconciler.ports import (
    CopiesAt,
    CountsFromSamples,
    Files,
    ForeignField,
    InProgress,
    Remark,
    Runtime,
    SlotAddress,
    SlotCounts,
)

PAGE = 200
_FORESEEN = ("PLAT-", "RUN-")
Connect = Callable[[], Awaitable[KubeClient]]


class _Open:
    """A region whose cluster is connected."""

    def __init__(
        self,
        client: KubeClient,
        doors: Doors,
        spec: EnvironmentSpec,
        region: str,
        runtime_for: Callable[[str], Runtime],
        models: Files | None,
    ) -> None:
        gateway, declared = gateway_of(spec, region), spec.regions[region]
        pins = isinstance(declared, KubernetesRegion) and declared.allow_slot_header
        self.client, self.doors = client, doors
        self.reading = Reading(client, spec, region, gateway)
        fences = Fences(client, self.reading.workload_kinds)
        self.slots = Slots(client, self.reading, fences, gateway, runtime_for, models)
        self.adopting = Adopting(client, fences)
        self.weights = Weights(client, self.reading, fences, gateway, pins=pins)


class KubernetesPlatform:
    """Reader, writer and counts of one region's cluster; it keeps replicas, borrows scalers, adopts and foresees.

    Nothing is opened before the first call. What it knows is in the cluster: another process goes on where this ends.
    """

    def __init__(
        self,
        declared: EnvironmentSpec,
        region: str,
        runtime_for: Callable[[str], Runtime],
        connect: Connect,
        *,
        stats: Callable[[KubeClient], Stats],
        doors: Callable[[], Awaitable[Doors]] = doors_inside,
        copies: CopiesAt | None = None,
        models: Files | None = None,
        servers: CollectedServers | None = None,
    ) -> None:
        self._spec, self._region = declared, region
        self._runtime_for, self._connect = runtime_for, connect
        self._gateway = gateway_of(declared, region)
        self._open_doors, self._stats, self._totals = doors, stats, Totals()
        self._copies, self._servers, self._models = Copies(copies), servers, models
        self._lock = asyncio.Lock()
        self._opened: _Open | None = None

    async def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[tuple[ObservedEndpoint, ...]]:
        """Yield every slot and weight as the cluster's watches hold them, page by page.

        Raises:
            SluiceError: `KUBE-…` the cluster cannot be read, or what is known of it is too old.
        """
        there = await self._open()
        found, controller = await asyncio.gather(there.reading.endpoints(), there.reading.controller())
        names = sorted(found) if endpoints is None else sorted(set(endpoints))
        around = await there.reading.around([found[name] for name in names if name in found])
        view = View(self._gateway, controller or "", around, there.doors)
        for begin in range(0, len(names), PAGE):
            page = names[begin : begin + PAGE]
            yield tuple(observed(self._address(name), found.get(name, EndpointObjects()), view) for name in page)

    async def start(self, slot: SlotAddress, release: Release, *, fence: int, replicas: int = 1) -> InProgress | None:
        """Run a release in a slot; do nothing when it runs there already, however many servers it has by now.

        Raises:
            SluiceError: `PLAT-003` the slot serves another release; `PLAT-020` to `PLAT-024`, `PLAT-032`, `PLAT-033`;
                `LEASE-002`; `KUBE-…`; what the runtime says of the model's files.
        """
        place = placement(self._spec, self._region, slot.address.endpoint)
        return await (await self._open()).slots.start(slot, release, place, fence=fence, replicas=replicas)

    async def scale(self, slot: SlotAddress, replicas: int, *, fence: int) -> InProgress | None:
        """Have the slot run so many servers.

        Raises:
            SluiceError: `PLAT-003` nothing runs there; `PLAT-025` another keeps their number; `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(slot.address)
        if not namespace:
            raise nothing_runs(slot, f"the slot cannot be given {replicas} servers")
        return await there.slots.scale(slot, namespace, replicas, fence=fence)

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Remember that the slot's present servers are warm.

        Raises:
            SluiceError: `PLAT-003` no server runs there; `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(slot.address)
        if not namespace:
            raise nothing_runs(slot, "the slot cannot be marked as warm")
        return await there.slots.mark_warm(slot, namespace, fence=fence)

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> InProgress | None:
        """Split traffic by these weights; None when the gateway's controller says that they are in force.

        Raises:
            SluiceError: `PLAT-004`, `PLAT-005` bad weights; `PLAT-020`, `PLAT-026`; `LEASE-002`; `KUBE-…`.
        """
        place = placement(self._spec, self._region, endpoint.endpoint)
        return await (await self._open()).weights.weigh(endpoint, place, weights_pct, fence=fence)

    async def stop(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Empty a slot whose weight is 0 and seen by the gateway; its servers finish what is in flight.

        Raises:
            SluiceError: `PLAT-003` it has weight; `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(slot.address)
        return await there.slots.stop(slot, namespace, fence=fence) if namespace else None

    async def remove(self, endpoint: Address, *, fence: int) -> InProgress | None:
        """Take an endpoint out of the gateway, then empty its slots; None when it is gone.

        Raises:
            SluiceError: `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(endpoint)
        return await there.slots.remove(endpoint, namespace, fence=fence) if namespace else None

    async def give_back(self, endpoint: Address, *, fence: int) -> None:
        """Give back the autoscalers that a rollout has borrowed.

        Raises:
            SluiceError: `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(endpoint)
        if namespace:
            await there.slots.give_back(endpoint, namespace, fence=fence)

    async def foreign(self, endpoint: Address) -> tuple[ForeignField, ...]:
        """Return what others own of an endpoint's route and workloads.

        Raises:
            SluiceError: `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(endpoint)
        return await there.adopting.foreign(endpoint, namespace) if namespace else ()

    async def adopt(self, endpoint: Address, *, fence: int) -> tuple[ForeignField, ...]:
        """Take it over, values as they are.

        Raises:
            SluiceError: `LEASE-002`; `KUBE-…`.
        """
        there, namespace = await self._open(), await self._namespace(endpoint)
        return await there.adopting.adopt(endpoint, namespace, fence=fence) if namespace else ()

    async def traffic(self, endpoint: Address) -> Mapping[str, SlotCounts]:
        """Return requests and errors by slot, as the gateway's proxies counted them since this was first asked.

        They are as old as the last scrape where the region names a Prometheus.

        What fails at a server whose machine is lost or drained says nothing of its release, and is left out.

        Raises:
            SluiceError: `KUBE-…` the proxies cannot be read (retryable).
        """
        there, namespace = await self._open(), await self._namespace(endpoint)
        pods = await there.reading.pods(namespace, lambda pod: _endpoint(pod) == endpoint.endpoint)
        lost = (await there.reading.around_pods(pods)).lost
        counting = [p for p in pods if (p.get("status") or {}).get("podIP") and not blameless(p, lost)]
        addresses = {pod["status"]["podIP"]: _slot(pod) for pod in counting}
        told = await self._stats(there.client).read(namespace, endpoint.endpoint)
        return self._totals.take(endpoint.endpoint, addresses, told)

    async def collected(
        self, endpoint: Address, servers: Sequence[str], runtime: Runtime
    ) -> Mapping[str, SlotCounts] | None:
        """Return what these pods count as the region's Prometheus scraped it; None where none is named or in reach.

        Raises:
            SluiceError: `METRIC-001` (retryable), `METRIC-002` it gives no answer.
        """
        if self._servers is None or not isinstance(runtime, CountsFromSamples):
            return None
        namespace = await self._namespace(endpoint)
        return await self._servers.read(namespace, endpoint.endpoint, servers, runtime) if namespace else {}

    async def foresee(self, endpoint: Address, release: Release) -> tuple[Remark, ...]:
        """Return what would be refused of a release, or how its model gets into pods and how long that may take.

        Raises:
            SluiceError: `KUBE-…` the cluster cannot be read.
        """
        there, place = await self._open(), placement(self._spec, self._region, endpoint.endpoint)
        controller = await there.reading.controller()
        try:
            check_placement(endpoint, place, controller)
            brought = await there.slots.brought(endpoint, release, place)
            if controller is None:
                raise no_gateway(endpoint, self._gateway)
        except SluiceError as error:
            if not error.code.startswith(_FORESEEN):
                raise
            p = error.problem
            return (Remark(error.code, "deny", f"{p.what}: {p.why}; {p.do}"),)
        ways = "; ".join(f"{key}: {source.why}" for key, source in sorted(brought.sources.items()))
        if brought.files:
            ways += f"; what lies beside the model: an immutable ConfigMap of {len(brought.files.files)} files"
        minutes = cold_start_s(place, brought.sources["model"]) / 60
        message = f"weights get into pods as follows: {ways}. A cold start takes about {minutes:.0f} min at most"
        there_now = (await there.reading.endpoints()).get(endpoint.endpoint, EndpointObjects())
        steady = max(1, self._spec.endpoints[endpoint.endpoint].replicas.min)
        lacking = await self._copies.lacking(endpoint, release, brought.sources["model"], place)
        scalers = await there.slots.scalers(endpoint, place.namespace) if there_now.workloads else {}
        return (Remark("PLAT-027", "info", message), *lacking, *autoscaled(there_now, steady, scalers))

    async def close(self) -> None:
        """End watches and connections; the next call opens them again."""
        async with self._lock:
            there, self._opened = self._opened, None
        if there is not None:
            await there.doors.close()
            await there.client.close()

    async def _namespace(self, endpoint: Address) -> str:
        """Return the namespace of an endpoint, also of one that is not declared any more; empty where it is nowhere."""
        if endpoint.endpoint in self._spec.endpoints:
            return placement(self._spec, self._region, endpoint.endpoint).namespace
        found = (await (await self._open()).reading.endpoints()).get(endpoint.endpoint, EndpointObjects())
        bodies = [*found.workloads.values(), *([found.route] if found.route else [])]
        return str(bodies[0]["metadata"]["namespace"]) if bodies else ""

    async def _open(self) -> _Open:
        async with self._lock:
            if self._opened is None:
                client = await self._connect()
                doors = await self._open_doors()
                self._opened = _Open(client, doors, self._spec, self._region, self._runtime_for, self._models)
            return self._opened

    def _address(self, endpoint: str) -> Address:
        return Address(self._spec.environment, self._region, endpoint)


def _endpoint(pod: Mapping[str, object]) -> str:
    return _labels(pod).get(ENDPOINT_LABEL, "")


def _slot(pod: Mapping[str, object]) -> str:
    found = _labels(pod).get(SLOT_LABEL, "")
    return found if found in SLOTS else ""


def _labels(pod: Mapping[str, object]) -> Mapping[str, str]:
    metadata = pod["metadata"]
    return metadata.get("labels") or {} if isinstance(metadata, dict) else {}
