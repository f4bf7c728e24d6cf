"""A region's objects, read once for all of its endpoints: views that watches keep, and what pods wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from environments.errors import SluiceError
from environments.names import ENDPOINT_LABEL, POOL_LABEL, namespace
from environments.spec import EnvironmentSpec
from reconciler.kubernetes import Body, Key, Kind, KubeReader, KubeWriter, View
from reconciler.kubernetes.kinds import (
    DEPLOYMENT,
    EVENT,
    GATEWAY,
    GATEWAY_CLASS,
    HTTP_ROUTE,
    LEADER_WORKER_SET,
    NODE,
    POD,
)
from reconciler.platforms.kubernetes.machines import gone_machine, lost_machines, machine_of
from reconciler.platforms.kubernetes.observed import EndpointObjects, by_endpoint
from reconciler.platforms.kubernetes.pending import Cluster
from reconciler.platforms.kubernetes.placement import GatewayRef, team_namespaces
from reconciler.platforms.kubernetes.pods import ready

SYNC_S = 30.0
MAX_AGE_S = 180.0
"""An older view is refused: a quiet cluster is heard of about once a minute."""
SHOWN_S = 2.0
_SURROUNDINGS_S = 5.0


class KubeClient(KubeReader, KubeWriter, Protocol):
    """One cluster, read and written."""

    async def close(self) -> None:
        """End watches and connections."""
        ...


class Reading:
    """Reads one cluster for all endpoints of its region: some calls a team, however many endpoints there are."""

    def __init__(self, client: KubeReader, spec: EnvironmentSpec, region: str, gateway: GatewayRef) -> None:
        self._client, self._gateway = client, gateway
        self._where = f"{spec.environment}/{region}"
        here = [e for name, e in spec.endpoints.items() if region in spec.regions_of(name)]
        self._declared = {namespace(spec.environment, declared.team) for declared in here}
        self._namespaces = team_namespaces(spec)
        groups = (LEADER_WORKER_SET,) if any(e.workers > 1 for e in here) else ()
        self.workload_kinds: tuple[Kind, ...] = (DEPLOYMENT, *groups)
        self._pools = spec.regions[region].gpu_pools
        self._controller: str | None = None
        self._around: tuple[float, Cluster] = (-_SURROUNDINGS_S, Cluster())

    async def endpoints(self) -> dict[str, EndpointObjects]:
        """Return the objects of every endpoint of the region by its name.

        Raises:
            SluiceError: `PLAT-001` or `KUBE-…`: the cluster cannot be read, or what is known of it is too old.
        """
        kinds = (*self.workload_kinds, POD, HTTP_ROUTE)
        found = dict(zip(kinds, await asyncio.gather(*(self._all(kind) for kind in kinds)), strict=True))
        workloads = [body for kind in self.workload_kinds for body in found[kind]]
        return by_endpoint(workloads, found[POD], found[HTTP_ROUTE])

    async def pods(self, namespace: str, wanted: Callable[[Body], bool]) -> list[Body]:
        """Return the pods of endpoints in a namespace that are as wanted."""
        return [pod for pod in (await self._synced(POD, namespace)).fresh(MAX_AGE_S).values() if wanted(pod)]

    async def shown(self, kind: Kind, namespace: str, holds: Callable[[Mapping[Key, Body]], bool]) -> bool:
        """Wait a moment until a view shows what was written, so that the next look sees it; return whether it does."""
        view, deadline = await self._synced(kind, namespace), time.monotonic() + SHOWN_S
        while not holds(view.items):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            since = view.changes
            if not holds(view.items):
                await view.changed(since, left)
        return True

    async def controller(self) -> str | None:
        """Return the name of the controller behind the region's Gateway, None where there is no such Gateway."""
        if self._controller is None:
            gateway = await self._client.get(GATEWAY, self._gateway.name, self._gateway.namespace)
            name = gateway["spec"]["gatewayClassName"] if gateway else ""
            found = await self._client.get(GATEWAY_CLASS, name) if name else None
            self._controller = found["spec"]["controllerName"] if found else None
        return self._controller

    async def around(self, found: Iterable[EndpointObjects]) -> Cluster:
        """Return what pods that are not ready are judged by: nothing is asked while all are, and not at every look."""
        return await self.around_pods([pod for each in found for pods in each.pods.values() for pod in pods])

    async def around_pods(self, pods: Iterable[Mapping[str, Any]]) -> Cluster:
        """Return what these pods are judged by."""
        waiting = [pod for pod in pods if not ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        if not waiting:
            return Cluster(pools=self._pools)
        since, known = self._around
        if time.monotonic() - since >= _SURROUNDINGS_S:
            known = await self._ask_around(waiting)
            self._around = (time.monotonic(), known)
        waited = {pod["metadata"]["name"]: _age_s(pod) for pod in waiting}
        return Cluster(known.events, known.nodes, self._pools, waited, known.lost)

    async def _ask_around(self, waiting: Iterable[Mapping[str, Any]]) -> Cluster:
        namespaces = {pod["metadata"]["namespace"] for pod in waiting}
        nodes, *events = await asyncio.gather(
            self._client.list(NODE, labels=POOL_LABEL),
            *(self._client.list(EVENT, each) for each in sorted(namespaces)),
        )
        by_pod: dict[str, list[Body]] = {}
        for event in (each for listed in events for each in listed):
            if (event.get("involvedObject") or {}).get("kind") == "Pod":
                by_pod.setdefault(event["involvedObject"]["name"], []).append(event)
        counted: dict[str, int] = {}
        for node in nodes:
            pool = node["metadata"]["labels"][POOL_LABEL]
            counted[pool] = counted.get(pool, 0) + 1
        known = {node["metadata"]["name"] for node in nodes}
        gone = await self._gone({machine_of(pod) for pod in waiting} - known - {""})
        return Cluster(by_pod, counted, lost=lost_machines(nodes) | gone)

    async def _gone(self, names: Iterable[str]) -> dict[str, str]:
        """Return those of these machines that are there no more: of no pool at all may be some that are."""
        found = {name: await self._client.get(NODE, name) for name in sorted(names)}
        return {name: gone_machine(name) for name, node in found.items() if node is None}

    async def _all(self, kind: Kind) -> list[Body]:
        """Return the objects of a kind in all namespaces.

        A team without an endpoint here may have no namespace, or none that we may read; what it left there is not seen.
        """
        views = await asyncio.gather(*(self._synced(kind, each) for each in self._namespaces), return_exceptions=True)
        found: list[Body] = []
        for name, view in zip(self._namespaces, views, strict=True):
            if isinstance(view, SluiceError) and name not in self._declared:
                continue
            if isinstance(view, BaseException):
                raise view
            found += view.fresh(MAX_AGE_S).values()
        return found

    async def _synced(self, kind: Kind, namespace: str) -> View:
        view = self._client.view(kind, namespace, labels=ENDPOINT_LABEL)
        await view.synced(SYNC_S)
        return view


def at_least(found: Body | None, written: Body) -> bool:
    """Return whether a watch shows an object no older than what was written.

    Versions are numbers that grow, which API servers promise since 1.35 (KEP-5504); only a short wait hangs on it.
    """
    if found is None:
        return False
    versions = (found["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"])
    if all(version.isdigit() for version in versions):
        return int(versions[0]) >= int(versions[1])
    return bool(versions[0] == versions[1])


def _age_s(pod: Mapping[str, Any]) -> float:
    """Return how long ago a pod was made, in seconds, by this machine's clock."""
    made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return max(0.0, time.time() - made.timestamp())
