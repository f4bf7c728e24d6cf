"""Whether a ledger still is what was signed: heads that stand in it, and anchors that were kept elsewhere. Pure.

A hash chain proves order, and not that nobody wrote all of it again. A signed head proves what was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.attest.dsse import Envelope, Verify, signers
from reconciler.core.attest.statement import SignedHead, read_head


@dataclass(frozen=True)
class Found:
    """A signed head and where it was found: a file, or an entry of the ledger."""

    where: str
    envelope: Envelope


@dataclass(frozen=True)
class Doubt:
    """What is wrong with a head. `rewritten` says that the ledger is; otherwise the head itself proves nothing."""

    where: str
    what: str
    rewritten: bool


@dataclass(frozen=True)
class Heads:
    """Heads that were checked: those that are in the ledger as they were signed, and what is wrong with the others."""

    good: tuple[SignedHead, ...]
    doubts: tuple[Doubt, ...]


def check_heads(
    found: Sequence[Found], hashes: Mapping[int, str], environment: str, keys: Mapping[str, bytes], verify: Verify
) -> Heads:
    """Compare heads with the ledger's hashes (entry → hash) and with the keys that are believed (id → key)."""
    checked = [_checked(each, hashes, environment, keys, verify) for each in found]
    return Heads(
        tuple(each for each in checked if isinstance(each, SignedHead)),
        tuple(each for each in checked if isinstance(each, Doubt)),
    )


def entries_told(found: Iterable[Found]) -> set[int]:
    """Return the numbers of the entries that heads tell of, believed or not; what cannot be read tells of none."""
    numbers = set()
    for each in found:
        try:
            numbers.add(read_head(each.envelope).seq)
        except ValueError:
            continue
    return numbers


def _checked(
    found: Found, hashes: Mapping[int, str], environment: str, keys: Mapping[str, bytes], verify: Verify
) -> SignedHead | Doubt:
    by = signers(found.envelope, keys, verify)
    if not by or None in by:
        what = "nobody signed it" if not by else "it is signed with a key that is not believed, or was changed since"
        return Doubt(found.where, what, rewritten=False)
    try:
        head = read_head(found.envelope)
    except ValueError as error:
        return Doubt(found.where, str(error), rewritten=False)
    if head.environment != environment:
        return Doubt(found.where, f"it is of the environment {head.environment}", rewritten=False)
    there = hashes.get(head.seq)
    if there == head.hash:
        return head
    now = f"its hash is {there[:16]}… now" if there else "there is no such entry now"
    what = f"entry {head.seq} had the hash {head.hash[:16]}… on {head.at}; {now}"
    return Doubt(found.where, what, rewritten=True)
