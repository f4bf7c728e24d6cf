"""How servers are reached from inside their cluster: by a pod's address, and by a slot's Service. Pure."""

from __future__ import annotations

from environments.names import SLOT_PORT
from reconciler.platforms.kubernetes.observed import Body, Doors


async def doors_inside() -> Doors:
    """Return the addresses that hold inside the cluster's network, where controllers run."""
    return Doors(_pod, lambda namespace, name: f"http://{name}.{namespace}.svc:{SLOT_PORT}")


def _pod(namespace: str, pod: Body) -> str | None:
    address = (pod.get("status") or {}).get("podIP")
    return f"http://{address}:{SLOT_PORT}" if address else None
