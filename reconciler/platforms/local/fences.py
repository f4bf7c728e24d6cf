"""The right to change a region: its lock, and the highest lease token seen for each endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from environments.errors import SluiceError
from environments.names import Address
from reconciler.platforms.local.state import LOCK, Layout, locked, read_json, write_json

_REGION_WAIT_S = 30.0


@contextlib.asynccontextmanager
async def fenced(layout: Layout, address: Address, fence: int) -> AsyncIterator[None]:
    """Hold the region's lock, with the lease token checked inside it, where nobody can overtake the check.

    Raises:
        SluiceError: `LEASE-002` the caller's lease has passed to someone else; `PLAT-012` the lock stays taken.
    """
    where = f"{address.environment}/{address.region}"
    async with locked(layout.root / LOCK, wait_s=_REGION_WAIT_S, where=where):
        check_fence(layout, address, fence)
        yield


def check_fence(layout: Layout, address: Address, fence: int) -> None:
    """Refuse a lease token lower than one seen for the endpoint, and remember this one. Call under the region's lock.

    Raises:
        SluiceError: `LEASE-002` the caller's lease has passed to someone else.
    """
    path = layout.root / "fences.json"
    seen = read_json(path, str(address)) or {}
    highest = int(seen.get(address.endpoint, 0))
    if fence < highest:
        raise SluiceError(
            "LEASE-002",
            where=str(address),
            what=f"lease token {fence} is older than {highest}, which has acted here since",
            why="another process took the rollout over while this one slept; nothing was changed",
            do="run `sluice status` to see who owns it; if the ledger was deleted on purpose, `sluice down` first",
        )
    if fence > highest:
        write_json(path, seen | {address.endpoint: fence})
