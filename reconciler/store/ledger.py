"""The hash chain of the ledger: how an entry is sealed, and how a chain is checked. Pure.

Imports the core, the ports and `environments.redact`. The store seals with it; `sluice ledger verify` checks with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from environments.redact import redact
from reconciler.core.canonical import canonical_json
from reconciler.ports import Entry, NewEntry, Verification

GENESIS = "0" * 64
_LOOK_PAST = 1000
_HASHED = ("environment", "seq", "at", "actor", "kind", "address", "rollout", "summary", "body", "prev")


@dataclass(frozen=True)
class Head:
    """The last entry of a chain as recorded beside it, so that a tail that was cut off is noticed."""

    seq: int
    hash: str


def entry_hash(entry: Entry) -> str:
    """Return the hex SHA-256 over the canonical JSON of all fields but `hash`."""
    content = {name: getattr(entry, name) for name in _HASHED}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def seal(draft: NewEntry, head: Head) -> Entry:
    """Return the entry that follows `head`; secrets in the draft's text are masked before it is hashed."""
    entry = Entry(
        environment=draft.environment,
        seq=head.seq + 1,
        at=draft.at,
        actor=_clean(draft.actor),
        kind=draft.kind,
        address=draft.address,
        rollout=draft.rollout,
        summary=_clean(draft.summary),
        body=json.loads(canonical_json(_masked(draft.body))),
        prev=head.hash,
        hash="",
    )
    return replace(entry, hash=entry_hash(entry))


def verify(entries: Iterable[Entry], *, head: Callable[[], Head | None] | None = None) -> Verification:
    """Check a whole chain, in order from its first entry, and name the first entry that is wrong.

    `head` is asked when the entries are exhausted. Without it (an exported file) a tail that was cut off cannot be
    noticed.
    """
    remaining = iter(entries)
    last = Head(0, GENESIS)
    for entry in remaining:
        problem = _problem_at(entry, last, remaining)
        if problem:
            return Verification(ok=False, checked=last.seq, problem=problem, seq=last.seq + 1)
        last = Head(entry.seq, entry.hash)
    seq, problem = _problem_at_end(last, head()) if head else (None, None)
    return Verification(ok=problem is None, checked=last.seq, problem=problem, seq=seq)


def _problem_at(entry: Entry, last: Head, rest: Iterable[Entry]) -> str | None:
    place = last.seq + 1
    if entry.hash != entry_hash(entry):
        return _moved_or_changed(entry, place, [entry, *rest])
    if entry.seq != place:
        return _misplaced(entry.seq, place, any(e.seq == place for e in rest))
    if entry.prev != last.hash:
        before = f"entry {last.seq}" if last.seq else "the beginning of the chain"
        return f"entry {place} does not follow {before}: one of them was replaced, with a new hash of its own"
    return None


def _moved_or_changed(entry: Entry, place: int, rest: Sequence[Entry]) -> str:
    """Tell an entry that was renumbered from one whose content was changed, by finding the number that was hashed."""
    numbers = range(1, place + len(rest) + _LOOK_PAST)
    found = next((n for n in numbers if _sealed_as(entry, n)), None)
    if found is None:
        return f"entry {entry.seq} was changed: its content does not give its hash"
    return _misplaced(found, place, any(_sealed_as(e, place) for e in rest))


def _misplaced(found: int, place: int, comes_later: bool) -> str:
    if found < place:
        return f"entry {found} stands at place {place}: an entry was inserted before it, or it was repeated"
    if comes_later:
        return f"entries were reordered: entry {found} stands at place {place}, where entry {place} belongs"
    missing = f"entry {place} was" if found == place + 1 else f"entries {place} to {found - 1} were"
    return f"{missing} removed: entry {found} stands next"


def _sealed_as(entry: Entry, seq: int) -> bool:
    return entry_hash(replace(entry, seq=seq)) == entry.hash


def _problem_at_end(last: Head, head: Head | None) -> tuple[int | None, str | None]:
    if head is None:
        return (last.seq, f"the head of the chain was removed; it was entry {last.seq}") if last.seq else (None, None)
    if last.seq < head.seq:
        cut = f"entry {head.seq} was" if head.seq == last.seq + 1 else f"entries {last.seq + 1} to {head.seq} were"
        return last.seq + 1, f"{cut} removed from the end: the chain's head is entry {head.seq}"
    if last.seq > head.seq:
        return last.seq, f"entry {head.seq + 1} was inserted at the end: the chain's head is entry {head.seq}"
    if last.hash != head.hash:
        return last.seq, f"entry {last.seq} was replaced: the chain's head has another hash"
    return None, None


def _masked(value: Any) -> Any:
    match value:
        case str():
            return _clean(value)
        case dict():
            return {str(key): _masked(item) for key, item in value.items()}
        case list() | tuple():
            return [_masked(item) for item in value]
        case _:
            return value


def _clean(text: str) -> str:
    """Mask secrets, and drop what a database's text type cannot hold (lone surrogates, NUL)."""
    return redact(text).encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
