"""Release splits in Kubernetes: one flag document in each team's namespace, in the object that flagd reads there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from environments.errors import SluiceError
from environments.names import FLAGS_LABEL, flags_object, namespace
from environments.spec import EnvironmentSpec
from reconciler.core.canonical import Json
from reconciler.kubernetes import Body, KubeReader, KubeWriter
from reconciler.pointers.document import changed, check_split, damaged
from reconciler.pointers.flags import RESOLUTION_PCT, splits_of
from reconciler.pointers.objects import Holder, applied
from reconciler.ports import ReleaseSplit

SYNC_S = 30.0
MAX_AGE_S = 180.0
SHOWN_S = 2.0
_MOVED = "KUBE-010"
_TRIES = 6


class Client(KubeReader, KubeWriter, Protocol):
    """One cluster, read and written."""

    async def close(self) -> None:
        """End watches and connections."""
        ...


class KubernetesPointers:
    """A `reconciler.ports.Pointers` over an object in each team's namespace. Nothing is opened before the first call.

    Written by server-side apply for the version that was read, as every object of the reconciler: a field that another
    manager owns is a conflict, and two writers never lose one another's flags.
    """

    resolution_pct = RESOLUTION_PCT

    def __init__(self, declared: EnvironmentSpec, holder: Holder, connect: Callable[[], Awaitable[Client]]) -> None:
        self._environment, self._holder, self._connect = declared.environment, holder, connect
        self._name = flags_object(declared.environment)
        self._places = {name: namespace(self._environment, e.team) for name, e in declared.endpoints.items()}
        self._namespaces = sorted({*self._places.values(), *(namespace(self._environment, t) for t in declared.teams)})
        self._lock = asyncio.Lock()
        self._client: Client | None = None

    def spread(self, endpoint: str) -> str | None:
        """Return where applications find the flags, and how long a change takes to reach them."""
        place = self._places.get(endpoint, "its namespace")
        return f"{self._holder.kind.name} {place}/{self._name}: {self._holder.spreads}"

    async def read(self) -> tuple[ReleaseSplit, ...]:
        """Return what is published in all namespaces of teams, sorted by endpoint.

        Raises:
            SluiceError: `PTR-002` damaged; `KUBE-…` the cluster cannot be read.
        """
        found = await self._splits()
        return tuple(sorted((each for splits in found.values() for each in splits), key=lambda split: split.endpoint))

    async def publish(self, endpoint: str, split: ReleaseSplit | None, *, fence: int) -> None:
        """Replace the flags of one endpoint; all others stay, and what is there already is not written again.

        Raises:
            SluiceError: `LEASE-002`; `PTR-002` damaged; `PTR-003` a flag of ours would replace one that is not;
                `KUBE-005` another manager owns the document; `KUBE-…` not written.
        """
        if split is not None:
            check_split(endpoint, split)
        place = self._places.get(endpoint) or await self._where(endpoint)
        for attempt in range(1, _TRIES + 1) if place else ():
            try:
                await self._put(place or "", endpoint, split, fence)
                break
            except SluiceError as error:
                if error.code != _MOVED or attempt == _TRIES:
                    raise

    async def close(self) -> None:
        """End watches and connections; the next call opens them again."""
        async with self._lock:
            client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _put(self, place: str, endpoint: str, split: ReleaseSplit | None, fence: int) -> None:
        client, kind = await self._open(), self._holder.kind
        metadata: Json = {"name": self._name, "namespace": place, "labels": {FLAGS_LABEL: self._environment}}
        found = await client.get(kind, self._name, place)
        if found is None and split is not None:  # one that has no version cannot be told from another writer's
            await client.make({"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}, kind=kind)
            found = await client.get(kind, self._name, place)
        if found is None:
            return
        content = self._content(place, found)
        wanted = changed(content, endpoint, split, fence=fence, where=self._where_is(place))
        if wanted != content:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
            await self._shown(place, (await client.apply(applied(self._holder, wanted, metadata), kind=kind)).body)

    async def _shown(self, place: str, written: Body) -> None:
        """Wait a moment until our own watch shows what was written, so that the next look does not publish it again."""
        view = (await self._open()).view(self._holder.kind, place, labels=self._labels)
        deadline, key = time.monotonic() + SHOWN_S, (place, self._name)
        version = written["metadata"]["resourceVersion"]
        while view.items.get(key, {}).get("metadata", {}).get("resourceVersion") != version:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            await view.changed(view.changes, left)

    async def _splits(self) -> dict[str, tuple[ReleaseSplit, ...]]:
        client = await self._open()
        views = {place: client.view(self._holder.kind, place, labels=self._labels) for place in self._namespaces}
        synced = await asyncio.gather(*(view.synced(SYNC_S) for view in views.values()), return_exceptions=True)
        found = {}
        for (place, view), problem in zip(views.items(), synced, strict=True):
            if isinstance(problem, SluiceError) and place not in self._places.values():
                continue  # a team without an endpoint may have no namespace here, or none that we may read
            if problem is not None:
                raise problem
            body = view.fresh(MAX_AGE_S).get((place, self._name))
            found[place] = splits_of(self._content(place, body)["flags"])
        return found

    async def _where(self, endpoint: str) -> str | None:
        """Return the namespace with flags of an endpoint that the file no longer declares."""
        found = await self._splits()
        return next((place for place, splits in found.items() if any(s.endpoint == endpoint for s in splits)), None)

    def _content(self, place: str, body: Body | None) -> Json:
        try:
            return self._holder.content(body)
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged(self._where_is(place), str(error)) from error

    def _where_is(self, place: str) -> str:
        return f"{self._holder.kind.name} {place}/{self._name}"

    @property
    def _labels(self) -> str:
        return f"{FLAGS_LABEL}={self._environment}"

    async def _open(self) -> Client:
        async with self._lock:
            if self._client is None:
                self._client = await self._connect()
            return self._client
