"""The store on PostgreSQL as others run it: behind PgBouncer, and with another default for transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.ports import NewEntry, Store
from reconciler.store.connect import open_store
from tests.support.servers.pgbouncer import pooled
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.engine
ENVIRONMENT = "test"


@pytest.fixture(params=["behind PgBouncer", "repeatable read by default"])
def url(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[str]:
    """Return the address of an empty database, in each of these ways."""
    plain = postgres.new_database()
    if request.param == "behind PgBouncer":
        with pooled(postgres, plain) as address:
            yield address
    else:
        name = plain.partition("@/")[2].partition("?")[0]
        postgres.sql("postgres", f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
        yield plain


def entry(number: int) -> NewEntry:
    return NewEntry(ENVIRONMENT, at="", actor="a", kind="k", address=f"{ENVIRONMENT}/local/chat", summary=str(number))


async def test_many_writers_keep_one_chain_and_one_owner(url: str, tmp_path: Path) -> None:
    """Twenty appends at once on four connections, an owner, and a second one that is told to stay away."""
    stores: list[Store] = [open_store(url, home=tmp_path) for _ in range(3)]
    lease = await stores[0].acquire("test/chat", "one", ttl_s=15)
    with pytest.raises(SluiceError, match="LEASE-001"):
        await stores[1].acquire("test/chat", "two", ttl_s=15)
    await asyncio.gather(*(stores[n % 3].append(entry(n), lease=lease if n % 3 == 0 else None) for n in range(20)))
    stored = await stores[0].create_rollout(ENVIRONMENT, "chat", "r1", {"n": 0}, lease=lease)
    await stores[0].save_rollout(stored, {"n": 1}, active=True, lease=lease)
    with pytest.raises(SluiceError, match="STORE-002"):
        await stores[0].save_rollout(stored, {"n": 2}, active=True, lease=lease)
    await stores[0].release(lease)
    again = await stores[1].acquire("test/chat", "two", ttl_s=15)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await stores[0].append(entry(99), lease=lease)
    assert again.token > lease.token
    found = await stores[2].verify(ENVIRONMENT)
    assert found.ok, found.problem
    assert len([e async for e in stores[2].entries(ENVIRONMENT)]) == 20
    for store in stores:
        await store.close()
