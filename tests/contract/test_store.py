"""The store's contract, on SQLite and on a real PostgreSQL server: leases, rollouts, ticks, ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from environments.errors import SluiceError
from reconciler.ports import Entry, Lease, NewEntry, Store
from tests.contract.conftest import Database

T = TypeVar("T")
LEASE = "prod/chat"


async def add(store: Store, summary: str = "moved", *, lease: Lease | None = None, **more: Any) -> Entry:
    return await store.append(
        NewEntry(
            "prod",
            at="2026-11-21T10:00:00Z",
            actor="ann",
            kind="weigh",
            address="prod/eu/chat",
            summary=summary,
            **more,
        ),
        lease=lease,
    )


async def outcomes(calls: Sequence[Awaitable[T]]) -> tuple[list[T], list[str]]:
    """Run calls at the same time; return what succeeded and the codes of what did not."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    codes = [r.code for r in results if isinstance(r, SluiceError)]
    good = [r for r in results if not isinstance(r, BaseException)]
    assert len(codes) + len(good) == len(results), results
    return good, codes


async def test_a_lease_is_one_owners_until_it_expires(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    first = await store.acquire(LEASE, "a", ttl_s=10)
    assert first == Lease(LEASE, "a", token=1, left_s=10)
    database.time.now = 109
    with pytest.raises(SluiceError) as refused:
        await store.acquire(LEASE, "b", ttl_s=10)
    assert refused.value.code == "LEASE-001"
    assert refused.value.problem.where == LEASE
    assert "a " in refused.value.problem.what
    database.time.now = 110
    assert (await store.acquire(LEASE, "b", ttl_s=10)).token == 2
    database.time.now = 110
    assert await store.acquire("prod/search", "a", ttl_s=10) == Lease("prod/search", "a", 1, 10)


async def test_an_owner_keeps_its_token(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    database.time.now = 105
    assert (await store.acquire(LEASE, "a", ttl_s=10)) == Lease(LEASE, "a", lease.token, 10)
    database.time.now = 112
    assert (await store.renew(lease, ttl_s=10)).left_s == 10
    assert await store.lease(LEASE) == Lease(LEASE, "a", lease.token, 10)


async def test_tokens_grow_across_releases(database: Database) -> None:
    store = database.open()
    tokens = []
    for owner in ("a", "a", "b", "a"):
        database.time.now = 100
        lease = await store.acquire(LEASE, owner, ttl_s=10)
        tokens.append(lease.token)
        await store.release(lease)
        await store.release(lease)
        assert await store.lease(LEASE) is None
    assert tokens == [1, 2, 3, 4]


async def test_a_clock_that_jumps_back_gives_no_token_twice(database: Database) -> None:
    store = database.open()
    seen: dict[int, str] = {}
    for now, owner in [(1000, "a"), (500, "b"), (2000, "b"), (10, "a"), (2500, "a"), (0, "c"), (9000, "c")]:
        database.time.now = now
        leases, codes = await outcomes([store.acquire(LEASE, owner, ttl_s=10)])
        assert codes in ([], ["LEASE-001"])
        for lease in leases:
            assert seen.setdefault(lease.token, owner) == owner
    assert seen == {1: "a", 2: "b", 3: "a", 4: "c"}


async def test_breaking_a_lease_needs_the_right_owner(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    dead = await store.acquire(LEASE, "a", ttl_s=1000)
    await store.break_lease(LEASE, "somebody else")
    database.time.now = 101
    with pytest.raises(SluiceError, match="LEASE-001"):
        await store.acquire(LEASE, "b", ttl_s=10)
    await store.break_lease(LEASE, "a")
    database.time.now = 101
    assert (await store.acquire(LEASE, "b", ttl_s=10)).token == dead.token + 1
    await store.break_lease("never heard of", "a")


async def test_an_old_token_writes_nothing(database: Database) -> None:
    store, other = database.open(), database.open()
    database.time.now = 100
    old = await store.acquire(LEASE, "a", ttl_s=10)
    rollout = await store.create_rollout("prod", "chat", "r1", {"n": 1}, lease=old)
    database.time.now = 200
    new = await other.acquire(LEASE, "b", ttl_s=10)
    _, codes = await outcomes(
        [
            store.renew(old, ttl_s=10),
            add(store, lease=old),
            store.save_rollout(rollout, {"n": 2}, active=True, lease=old),
            store.create_rollout("prod", "search", "r2", {}, lease=old),
        ]
    )
    assert codes == ["LEASE-002"] * 4
    await store.release(old)
    assert await other.lease(LEASE) == new
    assert [e async for e in other.entries("prod")] == []
    assert [(r.id, r.body) for r in await other.rollouts("prod")] == [("r1", {"n": 1})]
    assert (await add(other, lease=new)).seq == 1


async def test_a_lease_that_was_given_back_is_no_lease(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    await store.release(lease)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await add(store, lease=lease)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await add(store, lease=Lease("never taken", "a", 1, 1e12))


async def test_one_of_many_owners_gets_the_lease(database: Database) -> None:
    stores = [database.open() for _ in range(6)]
    database.time.now = 100
    good, codes = await outcomes([s.acquire(LEASE, f"o{n}", ttl_s=10) for n, s in enumerate(stores)])
    assert len(good) == 1
    assert codes == ["LEASE-001"] * 5


async def test_one_rollout_an_endpoint(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    good, codes = await outcomes(
        [store.create_rollout("prod", "chat", f"r{n}", {"n": n}, lease=lease) for n in range(5)]
    )
    assert len(good) == 1
    assert codes == ["STORE-003"] * 4
    [created] = good
    assert await store.create_rollout("prod", "chat", created.id, created.body, lease=lease) == created
    ended = await store.save_rollout(created, {"done": True}, active=False, lease=lease)
    assert ended.version == 2
    again = await store.create_rollout("prod", "chat", "later", {}, lease=lease)
    assert [r.id for r in await store.rollouts("prod")] == ["later", created.id]
    assert await store.rollouts("prod", active=True) == (again,)
    assert await store.rollouts("prod", active=False, endpoint="chat") == (ended,)
    assert await store.rollouts("prod", endpoint="search") == ()
    assert await store.rollouts("dev") == ()
    assert await store.rollouts("prod", limit=1) == (again,)
    assert await store.rollout(created.id) == ended
    assert await store.rollout("nobody") is None


async def test_compare_and_set_has_one_winner(database: Database) -> None:
    stores = [database.open() for _ in range(6)]
    database.time.now = 100
    lease = await stores[0].acquire(LEASE, "a", ttl_s=10)
    rollout = await stores[0].create_rollout("prod", "chat", "r1", {"n": -1}, lease=lease)
    for round_ in range(3):
        hands = [None if n % 2 else lease for n in range(6)]
        good, codes = await outcomes(
            [s.save_rollout(rollout, {"n": n}, active=True, lease=hands[n]) for n, s in enumerate(stores)]
        )
        assert len(good) == 1
        assert codes == ["STORE-002"] * 5
        [rollout] = good
        assert rollout.version == round_ + 2
        assert await stores[0].rollouts("prod") == (rollout,)


async def test_ticks_come_back_in_order(database: Database) -> None:
    store = database.open()
    for t_s in range(12):
        await store.add_tick("r1", "eu", {"t_s": t_s, "ttft_s": {"0.25": 40, "+Inf": 178}})
    await store.add_tick("r1", "us", {"t_s": 99})
    assert [t["t_s"] for t in await store.ticks("r1", "eu")] == list(range(12))
    assert await store.ticks("r2", "eu") == ()


async def test_entries_page_in_both_directions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.store.reads.PAGE", 4)
    store = database.open()
    for number in range(10):
        await add(store, f"entry {number}", rollout="r1" if number % 2 else None, body={"n": number, "f": 0.1})
    await store.append(NewEntry("dev", at="", actor="", kind="", address="", summary="another chain"))
    entries = [e async for e in store.entries("prod")]
    assert [e.seq for e in entries] == list(range(1, 11))
    assert [e.body["n"] for e in entries] == list(range(10))
    assert [e.seq async for e in store.entries("prod", newest_first=True)] == list(range(10, 0, -1))
    assert [e.seq async for e in store.entries("prod", newest_first=True, limit=5)] == [10, 9, 8, 7, 6]
    assert [e.seq async for e in store.entries("prod", limit=8)] == list(range(1, 9))
    assert [e async for e in store.entries("prod", limit=0)] == []
    assert (await store.verify("prod")).checked == 10
    assert (await store.verify("dev")).checked == 1
    assert (await store.verify("nothing here")).ok


async def test_secrets_and_odd_text_are_cleaned_before_they_are_hashed(database: Database) -> None:
    store = database.open()
    entry = await add(
        store,
        "read postgresql://ann:hunter2@db/prod\x00",
        body={"error": "hf_" + "a" * 30, "list": ["http://u:pw@h/"], "odd": "\ud800", "none": None, "größe": 1.5},
    )
    assert [entry] == [e async for e in store.entries("prod")]
    text = repr(entry)
    assert all(secret not in text for secret in ("hunter2", "hf_a", ":pw@"))
    assert (await store.verify("prod")).ok


def entry(kind: str = "state", address: str = "prod/eu/chat", **body: Any) -> NewEntry:
    return NewEntry("prod", at="", actor="ann", kind=kind, address=address, summary="", body=body)


async def test_a_rollout_and_the_ledger_change_together_or_not_at_all(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    stored = await store.create_rollout("prod", "chat", "r1", {"n": 1}, lease=lease, entries=[entry(n=1)])
    stored = await store.save_rollout(stored, {"n": 2}, active=True, lease=lease, entries=[entry(n=2), entry(n=3)])
    with pytest.raises(SluiceError, match="STORE-002"):
        await store.save_rollout(replace(stored, version=1), {"n": 9}, active=True, lease=lease, entries=[entry(n=9)])
    database.time.now = 200
    await store.acquire(LEASE, "b", ttl_s=10)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await store.save_rollout(stored, {"n": 9}, active=True, lease=lease, entries=[entry(n=9)])
    assert [e.body["n"] async for e in store.entries("prod")] == [1, 2, 3]
    assert (await store.verify("prod")).ok
    found = await store.rollout("r1")
    assert found is not None
    assert found.body == {"n": 2}


async def test_the_newest_entry_of_each_address_is_found_however_old(database: Database) -> None:
    store = database.open()
    for n, address in enumerate(["prod/eu/chat", "prod/us/chat", "prod/eu/chat"]):
        await store.append(entry(address=address, n=n))
    for n in range(30):
        await store.append(entry("other", n=n))
    assert [(e.address, e.body["n"]) for e in await store.newest("prod", "state")] == [
        ("prod/eu/chat", 2),
        ("prod/us/chat", 1),
    ]
    assert await store.newest("prod", "nothing") == ()


async def test_a_fenced_off_owner_records_no_tick(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    await store.add_tick("r1", "eu", {"n": 1}, lease=lease)
    database.time.now = 200
    other = await store.acquire(LEASE, "b", ttl_s=10)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await store.add_tick("r1", "eu", {"n": 2}, lease=lease)
    await store.add_tick("r1", "eu", {"n": 3}, lease=other)
    assert [tick["n"] for tick in await store.ticks("r1", "eu")] == [1, 3]


async def test_ticks_of_old_rollouts_go_and_those_in_flight_stay(database: Database) -> None:
    store = database.open()
    database.time.now = 100
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    for n in range(4):
        stored = await store.create_rollout("prod", "chat", f"r{n}", {}, lease=lease)
        await store.add_tick(f"r{n}", "eu", {"n": n}, lease=lease)
        await store.save_rollout(stored, {}, active=False, lease=lease)
    database.time.now = 100
    flying = await store.acquire("prod/search", "a", ttl_s=10)
    await store.create_rollout("prod", "search", "s1", {}, lease=flying)
    await store.add_tick("s1", "eu", {}, lease=flying)
    assert await store.prune_ticks("prod", "chat", keep=2) == 2
    left = {id: len(await store.ticks(id, "eu")) for id in ("r0", "r1", "r2", "r3", "s1")}
    assert left == {"r0": 0, "r1": 0, "r2": 1, "r3": 1, "s1": 1}


async def test_a_lease_that_runs_out_permits_no_write_until_it_is_renewed(database: Database) -> None:
    """Nobody has taken it, and all the same: what a lease permits must be over before somebody else can have it."""
    store = database.open()
    lease = await store.acquire(LEASE, "a", ttl_s=10)
    database.time.now += 9.5
    with pytest.raises(SluiceError, match="LEASE-002"):
        await store.append(entry(n=1), lease=lease)
    lease = await store.renew(lease, ttl_s=10)
    assert (await store.append(entry(n=2), lease=lease)).seq == 1


async def test_the_databases_own_clock_says_how_long_a_lease_lasts(database: Database) -> None:
    store = database.open(own_clock=True)
    lease = await store.acquire(LEASE, "a", ttl_s=1000)
    seen = await store.lease(LEASE)
    assert seen is not None
    assert 900 < seen.left_s <= 1000
    assert (await store.append(entry(), lease=lease)).seq == 1
    gone = await store.acquire("prod/search", "a", ttl_s=-5)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await store.append(entry(), lease=gone)


async def test_what_fails_in_a_batch_takes_nothing_of_the_others_with_it(database: Database) -> None:
    store = database.open()
    good = await store.acquire(LEASE, "a", ttl_s=10)
    lost = await store.acquire("prod/search", "a", ttl_s=10)
    database.time.now += 100
    await store.acquire("prod/search", "b", ttl_s=10)
    good = await store.renew(good, ttl_s=10)
    calls = [store.append(entry(n=n), lease=lost if n % 3 == 0 else good) for n in range(60)]
    written, codes = await outcomes(calls)
    assert (len(written), codes) == (40, ["LEASE-002"] * 20)
    assert [e.seq async for e in store.entries("prod")] == list(range(1, 41))
    assert (await store.verify("prod")).ok


async def test_whoever_is_cancelled_while_it_writes_knows_what_was_written(database: Database) -> None:
    """Either nothing is written, or it was written before the cancellation came through: nothing happens later."""
    store = database.open()
    await store.append(entry(n=0))
    for wait in range(6):
        task = asyncio.create_task(store.append(entry(n=wait)))
        for _ in range(wait):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = [e.seq async for e in store.entries("prod")]
        await asyncio.sleep(0.05)
        assert [e.seq async for e in store.entries("prod")] == before
