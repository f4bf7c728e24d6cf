"""Keep the ledger's head elsewhere, and find out later whether the ledger is still the one that was signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.signing import LedgerSpec, keyid_of, spki_of
from reconciler.core.attest.dsse import Verify, envelope_from_json
from reconciler.core.attest.heads import Found, Heads, check_heads, entries_told
from reconciler.core.events import SIGNED
from reconciler.ports import Entry, Signer, Store, Verification


@dataclass(frozen=True)
class Checked:
    """What a check of the chain and of the heads over it found."""

    chain: Verification
    heads: Heads


async def believed(ledger: LedgerSpec | None, signer: Signer | None) -> dict[str, bytes]:
    """Return the keys (id → key) whose signatures count: those that are declared, else the one that signs here."""
    declared = [spki_of(each.public_key) for each in ledger.keys] if ledger else []
    if not declared and signer is not None:
        declared = [await signer.public_key()]
    return {keyid_of(key): key for key in declared}


async def check(
    store: Store, environment: str, anchors: Sequence[Found], keys: Mapping[str, bytes], verify: Verify
) -> Checked:
    """Check the chain against itself, and against heads: those in it, where keys are believed, and `anchors`."""
    chain = await store.verify(environment)
    inside = [_found(entry) async for entry in store.entries(environment) if entry.kind == SIGNED] if keys else []
    heads = [*(each for each in inside if each), *anchors]
    wanted = entries_told(heads)
    hashes = {entry.seq: entry.hash async for entry in store.entries(environment) if entry.seq in wanted}
    return Checked(chain, check_heads(heads, hashes, environment, keys, verify))


def _found(entry: Entry) -> Found | None:
    """Return the head that an entry holds; None where the entry itself is damaged, which the chain's check names."""
    try:
        return Found(f"entry {entry.seq}", envelope_from_json(entry.body.get("envelope")))
    except ValueError:
        return None
