"""The right to change an endpoint's objects: the highest token on them, and versions that nobody else has changed.

A new owner's token goes onto every object of the endpoint before it acts. That gives each a new version, and whoever
had read the old one can write none of them any more. A workload that was not there has no version: it is made, and
taken back where a newer token is found afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from environments.errors import SluiceError
from environments.names import SLOTS, Address, route_name, slot_object
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release
from reconciler.kubernetes import Body, Kind
from reconciler.kubernetes.kinds import HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.platforms.kubernetes.route import stamped

T = TypeVar("T")
_MOVED = "KUBE-010"
_TRIES = 6


@dataclass
class Held:
    """An endpoint's objects as they are now, with the caller's token on each: a route, and a workload a slot."""

    address: Address
    namespace: str
    fence: int
    route: Body | None = None
    workloads: dict[str, tuple[Kind, Body]] = field(default_factory=dict)

    def release(self, slot: str) -> Release | None:
        """Return the release in a slot, None in an empty one and in one whose note cannot be read."""
        try:
            return marks.release_of(marks.notes_of(self.body(slot)).get(marks.RELEASE))
        except ValueError:
            return None

    def body(self, slot: str) -> Body | None:
        """Return the workload of a slot that is not on its way out."""
        found = self.workloads.get(slot)
        return found[1] if found and "deletionTimestamp" not in found[1]["metadata"] else None


class Fences:
    """Lets a caller act on an endpoint with its token, as often as others change the objects under its hands."""

    def __init__(self, client: KubeClient, kinds: Sequence[Kind]) -> None:
        self._client, self._kinds = client, kinds

    async def act(self, address: Address, namespace: str, fence: int, what: Callable[[Held], Awaitable[T]]) -> T:
        """Do `what` with the endpoint's objects, again whenever one of them was changed meanwhile.

        Raises:
            SluiceError: `LEASE-002` a newer token has acted here; `KUBE-010` the objects never stay as they are.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return await what(await self._held(address, namespace, fence))
            except SluiceError as error:
                if error.code != _MOVED or attempt == _TRIES:
                    raise
        raise AssertionError("the last try returns or raises")

    async def look(self, address: Address, namespace: str, fence: int) -> Held:
        """Return the endpoint's objects; nothing is written.

        Raises:
            SluiceError: `LEASE-002` a newer token has acted here.
        """
        held = await self._read(address, namespace, fence)
        check_fence(held)
        return held

    async def peek(self, address: Address, namespace: str) -> Held:
        """Return the endpoint's objects for somebody who holds no token and writes nothing."""
        return await self._read(address, namespace, 0)

    async def _held(self, address: Address, namespace: str, fence: int) -> Held:
        held = await self.look(address, namespace, fence)
        if held.route is not None and marks.ours(held.route) and marks.fence_of(held.route) < fence:
            held.route = (await self._client.apply(stamped(held.route, fence), kind=HTTP_ROUTE)).body
        for slot, (kind, body) in held.workloads.items():
            if marks.ours(body) and marks.fence_of(body) < fence:
                held.workloads[slot] = (kind, await self.note(kind, body, {marks.FENCE: str(fence)}))
        return held

    async def note(self, kind: Kind, body: Body, notes: Json) -> Body:
        """Write annotations onto a workload, if it is still the version that was read."""
        metadata = body["metadata"]
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": notes}}
        return await self._client.patch(kind, metadata["name"], change, namespace=metadata["namespace"])

    async def _read(self, address: Address, namespace: str, fence: int) -> Held:
        wanted = [(slot, kind) for slot in SLOTS for kind in self._kinds]
        route, *bodies = await asyncio.gather(
            self._client.get(HTTP_ROUTE, route_name(address.endpoint), namespace),
            *(self._client.get(kind, slot_object(address.endpoint, slot), namespace) for slot, kind in wanted),
        )
        held = Held(address, namespace, fence, route)
        for (slot, kind), body in zip(wanted, bodies, strict=True):
            if body is not None:
                held.workloads[slot] = (kind, body)
        return held


def check_fence(held: Held, seen: int = 0) -> None:
    """Refuse a token that is older than one on the endpoint's objects, or than one that was `seen` elsewhere.

    Raises:
        SluiceError: `LEASE-002`.
    """
    newest = max(seen, marks.fence_of(held.route, *(body for _, body in held.workloads.values())))
    if held.fence < newest:
        raise SluiceError(
            "LEASE-002",
            where=str(held.address),
            what=f"lease token {held.fence} is older than {newest}, which has acted here since",
            why="another process took the rollout over while this one slept; nothing was changed",
            do="run `sluice status` to see who owns it",
        )
