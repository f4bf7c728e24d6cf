"""Takes fields of an endpoint's objects over from others: the one place where a conflict is forced, when asked to."""

from __future__ import annotations

from environments.names import Address, slot_object
from reconciler.kubernetes import Body, Kind
from reconciler.kubernetes.kinds import HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.adoption import disowned, foreign
from reconciler.platforms.kubernetes.borrowing import Borrowing
from reconciler.platforms.kubernetes.fences import Fences, Held
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.platforms.kubernetes.route import stamped
from reconciler.ports import ForeignField


class Adopting:
    """Looks for foreign fields of an endpoint in one cluster, and takes them over as they are."""

    def __init__(self, client: KubeClient, fences: Fences) -> None:
        self._client, self._fences, self._borrowing = client, fences, Borrowing(client)

    async def foreign(self, endpoint: Address, namespace: str) -> tuple[ForeignField, ...]:
        """Return what others own; nothing is written."""
        held = await self._fences.peek(endpoint, namespace)
        return tuple(each for kind, body, scaled in await self._adoptable(held) for each in _of(kind, body, scaled))

    async def adopt(self, endpoint: Address, namespace: str, *, fence: int) -> tuple[ForeignField, ...]:
        """Take everything over that others own; no value changes, so no request goes elsewhere than before."""

        async def act(held: Held) -> tuple[ForeignField, ...]:
            taken: list[ForeignField] = []
            for kind, body, scaled in await self._adoptable(held):
                if found := _of(kind, body, scaled):
                    await self._take(kind, body, endpoint, scaled=scaled, fence=fence)
                    taken += found
            return tuple(taken)

        return await self._fences.act(endpoint, namespace, fence, act)

    async def _adoptable(self, held: Held) -> list[tuple[Kind, Body, bool]]:
        """Return the endpoint's objects: its route whoever made it, and the workloads that were made here."""
        found = [(HTTP_ROUTE, held.route, False)] if held.route is not None else []
        for slot, (kind, body) in sorted(held.workloads.items()):
            if marks.ours(body) and body["metadata"]["name"] == slot_object(held.address.endpoint, slot):
                scaler = await self._borrowing.scaler(held.address.endpoint, slot, held.namespace)
                found.append((kind, body, scaler is not None))
        return found

    async def _take(self, kind: Kind, body: Body, endpoint: Address, *, scaled: bool, fence: int) -> None:
        """Own the object beside the others first: one without any owner would get one of Kubernetes' own making."""
        if kind == HTTP_ROUTE:
            whole = stamped(body, fence)
            whole["metadata"]["annotations"][marks.ADDRESS] = str(endpoint)
            body = (await self._client.apply(whole, kind=kind, force=True)).body
        metadata, change = body["metadata"], disowned(kind, body, scaled=scaled)
        await self._client.patch(kind, metadata["name"], change, namespace=metadata["namespace"])


def _of(kind: Kind, body: Body, scaled: bool) -> tuple[ForeignField, ...]:
    return foreign(kind, body, scaled=scaled)
