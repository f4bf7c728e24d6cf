"""Sign the ledger's head when a rollout has ended, so that nobody can write the ledger anew unnoticed."""

from __future__ import annotations

from collections.abc import Callable

from environments.names import Address
from reconciler.core.attest.dsse import Envelope, envelope_to_json
from reconciler.core.attest.statement import SignedHead, head_statement
from reconciler.core.events import HeadSigned
from reconciler.core.times import timestamp
from reconciler.engine.owner import owner_id
from reconciler.ports import Signer, Store, entry_of, signed

Clock = Callable[[], float]


async def signed_head(
    store: Store, signer: Signer, environment: str, *, now: float, rollout: str | None = None
) -> tuple[SignedHead, Envelope] | None:
    """Return the ledger's last entry as it is now, signed; None when there is none yet.

    Raises:
        SluiceError: those of the signer and of the store.
    """
    async for entry in store.entries(environment, newest_first=True, limit=1):
        head = SignedHead(environment, entry.seq, entry.hash, timestamp(now), rollout)
        return head, await signed(head_statement(head), signer)
    return None


async def sign_end(store: Store, signer: Signer, environment: str, endpoint: str, rollout: str, clock: Clock) -> None:
    """Write the signed head into the ledger after a rollout ended; other endpoints may write in between.

    Raises:
        SluiceError: those of the signer and of the store.
    """
    found = await signed_head(store, signer, environment, now=clock(), rollout=rollout)
    if found is None:
        return
    head, envelope = found
    at = Address.everywhere(environment, endpoint)
    event = HeadSigned(at, rollout, head.seq, envelope_to_json(envelope))
    await store.append(entry_of(event, now=clock(), actor=owner_id()))
