"""Whatever is done to a chain of entries, the check says so; and a chain that nothing was done to is sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.ports import Entry, NewEntry
from reconciler.store.ledger import GENESIS, Head, entry_hash, seal, verify

UNTIMED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_TEXT = st.text(max_size=8)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_BODIES = st.lists(st.dictionaries(_TEXT, _JSON, max_size=3), min_size=1, max_size=12)


def chain(bodies: list[dict[str, Any]]) -> list[Entry]:
    entries: list[Entry] = []
    for body in bodies:
        last = Head(entries[-1].seq, entries[-1].hash) if entries else Head(0, GENESIS)
        entries.append(seal(NewEntry("prod", "now", "ann", "weigh", "prod/eu/chat", "moved", None, body), last))
    return entries


def head_of(entries: list[Entry]) -> Head:
    return Head(entries[-1].seq, entries[-1].hash)


@UNTIMED
@given(_BODIES)
def test_an_untouched_chain_is_sound(bodies: list[dict[str, Any]]) -> None:
    entries = chain(bodies)
    found = verify(entries, head=lambda: head_of(entries))
    assert (found.ok, found.checked, found.problem, found.seq) == (True, len(bodies), None, None)
    assert entries[0].prev == GENESIS
    assert [e.seq for e in entries] == list(range(1, len(bodies) + 1))


@UNTIMED
@given(_BODIES, st.data())
def test_a_changed_field_is_found_and_named(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    entries = chain(bodies)
    place = data.draw(st.integers(0, len(entries) - 1))
    field = data.draw(st.sampled_from(["environment", "at", "actor", "kind", "address", "rollout", "summary"]))
    change: dict[str, Any] = {field: "changed by hand"}
    touched = [*entries[:place], replace(entries[place], **change), *entries[place + 1 :]]
    found = verify(touched, head=lambda: head_of(entries))
    assert (found.ok, found.seq, found.checked) == (False, place + 1, place)
    assert found.problem == f"entry {place + 1} was changed: its content does not give its hash"


@UNTIMED
@given(_BODIES, st.data())
def test_a_removed_entry_is_found_and_named(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    entries = chain(bodies)
    place = data.draw(st.integers(0, len(entries) - 1))
    found = verify([*entries[:place], *entries[place + 1 :]], head=lambda: head_of(entries))
    assert (found.ok, found.seq) == (False, place + 1)
    assert f"entry {place + 1} was removed" in (found.problem or "")


@UNTIMED
@given(_BODIES, st.data())
def test_any_other_order_is_found(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    entries = chain(bodies)
    shuffled = data.draw(st.permutations(entries))
    assert verify(shuffled, head=lambda: head_of(entries)).ok == (shuffled == entries)
    renumbered = [replace(entry, seq=place) for place, entry in enumerate(shuffled, 1)]
    found = verify(renumbered, head=lambda: head_of(entries))
    assert found.ok == (shuffled == entries)
    assert found.ok or "reordered" in (found.problem or "")


@UNTIMED
@given(_BODIES, st.data())
def test_an_entry_with_a_hash_of_its_own_is_found(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    entries = chain(bodies)
    place = data.draw(st.integers(0, len(entries) - 1))
    forged = replace(entries[place], summary="forged")
    forged = replace(forged, hash=entry_hash(forged))
    found = verify([*entries[:place], forged, *entries[place + 1 :]], head=lambda: head_of(entries))
    assert not found.ok
    assert found.seq == min(place + 2, len(entries))


def test_a_body_that_is_no_json_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        chain([{"value": float("nan")}])
