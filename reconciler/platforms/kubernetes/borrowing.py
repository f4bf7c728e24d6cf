"""Borrows the autoscalers of an endpoint's slots for the time of a rollout, and gives them back."""

from __future__ import annotations

import asyncio

from environments.errors import SluiceError
from environments.names import SLOTS, Address, slot_object
from reconciler.kubernetes.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.fences import Held, check_fence
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.platforms.kubernetes.scalers import Scaler, borrow, give_back, scaler_of
from reconciler.ports import InProgress, SlotAddress

_UNKNOWN_KIND = "KUBE-004"
_NO_RIGHT = "KUBE-003"


class Borrowing:
    """Finds and changes autoscalers of one region. A cluster without KEDA has none of its kind."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def scaler(self, endpoint: str, slot: str, namespace: str) -> Scaler | None:
        """Return the autoscaler of a slot, None where nothing scales it.

        Raises:
            SluiceError: `KUBE-…`.
        """
        name = slot_object(endpoint, slot)
        try:
            scaled = await self._client.get(SCALED_OBJECT, name, namespace)
        except SluiceError as error:
            if error.code != _UNKNOWN_KIND:
                raise
            scaled = None
        if scaled is not None:
            return scaler_of(name, scaled, ())
        try:
            return scaler_of(name, None, await self._client.list(HORIZONTAL_POD_AUTOSCALER, namespace))
        except SluiceError as error:
            # A role that an older stack made cannot read them, and such a stack makes none.
            if error.code != _NO_RIGHT:
                raise
            return None

    async def hold(self, scaler: Scaler, slot: SlotAddress, replicas: int, held: Held) -> InProgress:
        """Have an autoscaler keep so many servers; it brings them in its own time.

        Raises:
            SluiceError: `LEASE-002` a newer token has acted on it; `KUBE-010` it was changed meanwhile.
        """
        check_fence(held, marks.fence_of(scaler.body))
        if not scaler.keeps(replicas):
            await self._write(scaler, borrow(scaler, replicas, held.fence))
        return InProgress(f"{scaler.name} brings slot {slot.slot} to {replicas} servers")

    async def give_back(self, endpoint: Address, namespace: str, held: Held) -> None:
        """Give back what a rollout has borrowed; succeed if that is nothing.

        Raises:
            SluiceError: `LEASE-002`, `KUBE-…`.
        """
        found = await asyncio.gather(*(self.scaler(endpoint.endpoint, slot, namespace) for slot in SLOTS))
        for scaler in found:
            if scaler is not None and scaler.borrowed:
                check_fence(held, marks.fence_of(scaler.body))
                await self._write(scaler, give_back(scaler))

    async def _write(self, scaler: Scaler, change: dict[str, object]) -> None:
        metadata = scaler.body["metadata"]
        await self._client.patch(scaler.kind, metadata["name"], change, namespace=metadata["namespace"])
