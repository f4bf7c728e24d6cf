"""Hold a lease: take it, renew it while the work goes on, end the work when it is lost, give it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.engine.owner import is_dead
from reconciler.ports import Lease, Store

TTL_S = 15.0
MARGIN_S = 4.0
"""Nothing is begun this close to the end of a lease: what is under way must end before somebody else may begin."""


_LAST_S = 1.0


def lease_name(environment: str, endpoint: str) -> str:
    """Return the name of the lease over one endpoint in all its regions."""
    return f"{environment}/{endpoint}"


@dataclass
class HeldLease:
    """A lease in our hands; `lease` is replaced whenever it is renewed.

    `failing` is why it could not be renewed so far, set when little of it is left: whoever holds it leaves in good
    order while nobody else can have it yet.
    """

    lease: Lease
    store: Store
    clock: Callable[[], float]
    until: float
    failing: SluiceError | None = None

    @property
    def left_s(self) -> float:
        """Return how long something may still be begun under this lease, by our own clock since it was asked for."""
        return self.until - MARGIN_S - self.clock()


@contextlib.asynccontextmanager
async def held(store: Store, name: str, owner: str, clock: Callable[[], float]) -> AsyncIterator[HeldLease]:
    """Hold the lease for the length of the block; a lease whose owner is known to be dead is broken first.

    The block is cancelled, and the error raised, when the lease passes to somebody else or cannot be renewed in time.

    Raises:
        SluiceError: `LEASE-001` a living owner holds it; `LEASE-002` somebody else has taken it; `STORE-…` it could
            not be renewed in time.
    """
    present = await store.lease(name)
    if present and present.owner != owner and present.left_s > 0 and is_dead(present.owner):
        await store.break_lease(name, present.owner)
    asked = clock()
    mine = HeldLease(await store.acquire(name, owner, ttl_s=TTL_S), store, clock, asked + TTL_S)
    try:
        async with _renewed(mine):
            yield mine
    finally:
        with contextlib.suppress(SluiceError):  # it expires by itself
            await store.release(mine.lease)


@contextlib.asynccontextmanager
async def _renewed(mine: HeldLease) -> AsyncIterator[None]:
    body = asyncio.current_task()
    lost: list[SluiceError] = []

    async def keep() -> None:
        while True:
            await asyncio.sleep(min(TTL_S / 3, max(mine.left_s / 2, 0.2)))
            try:
                asked = mine.clock()
                mine.lease = await mine.store.renew(mine.lease, ttl_s=TTL_S)
                mine.until = asked + TTL_S
                mine.failing = None
            except SluiceError as error:
                passing = error.retryable and error.code != "LEASE-002"
                if passing and mine.left_s > 0:
                    continue
                mine.failing = error if passing else None
                if passing and mine.left_s + MARGIN_S > _LAST_S:
                    continue
                lost.append(error)
                if body:
                    body.cancel()
                return

    keeper = asyncio.create_task(keep())
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            if body:
                body.uncancel()
            raise lost[0] from None
        raise
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
