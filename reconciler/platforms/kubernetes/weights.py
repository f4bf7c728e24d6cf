"""Puts an endpoint's weights in force: one HTTPRoute, applied whole, and the word of the gateway's controller."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from environments.names import RELEASE_LABEL, SLOTS, Address, slot_labels
from reconciler.kubernetes import Body, Key
from reconciler.kubernetes.kinds import HTTP_ROUTE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.fences import Fences, Held
from reconciler.platforms.kubernetes.placement import GatewayRef, Placement
from reconciler.platforms.kubernetes.pods import ready
from reconciler.platforms.kubernetes.reading import KubeClient, Reading, at_least
from reconciler.platforms.kubernetes.refusals import no_gateway
from reconciler.platforms.kubernetes.route import Line, not_in_force, route, says, weights_of
from reconciler.platforms.kubernetes.services import ensure_service
from reconciler.platforms.splits import check_weights
from reconciler.ports import InProgress, SlotAddress


class Weights:
    """Splits an endpoint's traffic. `pins` says whether outside requests may name their slot."""

    def __init__(
        self, client: KubeClient, reading: Reading, fences: Fences, gateway: GatewayRef, *, pins: bool
    ) -> None:
        self._client, self._reading, self._fences = client, reading, fences
        self._gateway, self._pins = gateway, pins

    async def weigh(
        self, address: Address, place: Placement, weights_pct: Mapping[str, float], *, fence: int
    ) -> InProgress | None:
        """Apply the route and wait a moment for the controller's word."""

        async def act(held: Held) -> Body | InProgress:
            line = await self._line(held, weights_pct)
            if waiting := _unready(held, line):
                return waiting
            if await self._reading.controller() is None:
                raise no_gateway(address, self._gateway)
            return await self._apply(held, line, place)

        written = await self._fences.act(address, place.namespace, fence, act)
        return written if isinstance(written, InProgress) else await self._in_force(written)

    async def _line(self, held: Held, weights_pct: Mapping[str, float]) -> Line:
        """Return what the route is to say.

        Raises:
            SluiceError: `PLAT-004`, `PLAT-005` these are no weights of slots that have servers.
        """
        releases = {slot: found for slot in SLOTS if (found := held.release(slot)) and held.body(slot)}
        ids = {slot: release.id for slot, release in releases.items()}
        check_weights(held.address, weights_pct, ids)
        texts = {slot: marks.release_text(release) for slot, release in releases.items()}
        answering = {slot for slot in ids if await self._answers(held, slot, ids[slot])}
        weights = {slot: float(weights_pct.get(slot, 0.0)) for slot in SLOTS}
        return Line(weights, ids, texts, answering, self._pins)

    async def _answers(self, held: Held, slot: str, release: str) -> bool:
        wanted = slot_labels(held.address.endpoint, slot) | {RELEASE_LABEL: release}

        def ours(pod: Body) -> bool:
            return wanted.items() <= (pod["metadata"].get("labels") or {}).items()

        return any(ready(pod) for pod in await self._reading.pods(held.namespace, ours))

    async def _apply(self, held: Held, line: Line, place: Placement) -> Body:
        wanted = route(held.address, held.namespace, self._gateway, line, fence=held.fence)
        if held.route is not None:
            if says(held.route, wanted):
                return held.route
            wanted["metadata"]["resourceVersion"] = held.route["metadata"]["resourceVersion"]
        slots = (SlotAddress(held.address, slot) for slot in SLOTS)
        await asyncio.gather(*(ensure_service(self._client, slot, place) for slot in slots))
        written = (await self._client.apply(wanted, kind=HTTP_ROUTE)).body
        if held.route is None:  # it had no version to be held to: somebody with a newer token may have come meanwhile
            await self._fences.look(held.address, held.namespace, held.fence)
        return written

    async def _in_force(self, written: Body) -> InProgress | None:
        """Wait a moment until the controller has seen what was written, and our own watch has, too."""
        metadata, controller = written["metadata"], await self._reading.controller() or ""
        key = (metadata["namespace"], metadata["name"])

        def holds(items: Mapping[Key, Body]) -> bool:
            found = items.get(key)
            return at_least(found, written) and not_in_force(found, self._gateway, controller) is None

        if await self._reading.shown(HTTP_ROUTE, metadata["namespace"], holds):
            return None
        found = await self._client.get(HTTP_ROUTE, metadata["name"], metadata["namespace"])
        why = not_in_force(found, self._gateway, controller)
        return InProgress(why or "our own watch has not seen the weights yet")


def _unready(held: Held, line: Line) -> InProgress | None:
    """Return what weights wait for: no slot gets more of the traffic before it has a server that answers."""
    before = weights_of(held.route, held.address.endpoint)
    for slot in SLOTS:
        if line.weights_pct[slot] > before[slot] and slot not in line.answering:
            return InProgress(f"slot {slot} has no server that answers yet")
    return None
