"""The Service of a slot, where the stacks have not made it."""

from __future__ import annotations

from environments.names import slot_object
from reconciler.kubernetes.kinds import SERVICE
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.placement import Placement
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.platforms.kubernetes.workload import service
from reconciler.ports import SlotAddress


async def ensure_service(client: KubeClient, slot: SlotAddress, place: Placement) -> None:
    """Make a slot's Service; one that is there belongs to the stacks and stays as it is."""
    name = slot_object(slot.address.endpoint, slot.slot)
    if await client.get(SERVICE, name, place.namespace) is None:
        await client.apply(service(slot, place), kind=SERVICE)


async def delete_service(client: KubeClient, slot: SlotAddress, namespace: str) -> None:
    """Delete a slot's Service if it was made here."""
    name = slot_object(slot.address.endpoint, slot.slot)
    found = await client.get(SERVICE, name, namespace)
    if found is not None and marks.ours(found):
        await client.delete(SERVICE, name, namespace=namespace, uid=found["metadata"]["uid"])
