"""A process of its own that works on a store, for tests that stop, pause and kill it. Run as a module.

`append URL HOME COUNT` appends entries and prints the number of each; `hold URL HOME OWNER` takes a lease, prints its
token, waits for a line on stdin and then writes with that lease. A coded error is printed as `error CODE`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from environments.errors import SluiceError
from reconciler.ports import Lease, NewEntry, Store
from reconciler.store.connect import open_store

ENVIRONMENT = "prod"


async def append_one(store: Store, number: int, lease: Lease | None = None) -> int:
    """Append one entry and return its sequence number."""
    entry = await store.append(
        NewEntry(
            ENVIRONMENT,
            at="2026-11-21T10:00:00Z",
            actor=f"worker {os.getpid()}",
            kind="weigh",
            address="prod/eu/chat",
            summary=f"entry {number} of this process",
            body={"number": number, "share": 0.1, "text": "x" * 200},
        ),
        lease=lease,
    )
    return entry.seq


async def append_many(store: Store, count: int) -> None:
    """Append `count` entries and print each number when it is written."""
    for number in range(count):
        print(await append_one(store, number), flush=True)


async def hold(store: Store, owner: str) -> None:
    """Take a lease, sleep through it, and write."""
    lease = await store.acquire("prod/chat", owner, ttl_s=5)
    print(lease.token, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(await append_one(store, 0, lease), flush=True)


async def main(command: str, url: str, home: str, argument: str) -> None:
    """Run one command."""
    try:
        store = open_store(url, home=Path(home))
        await (append_many(store, int(argument)) if command == "append" else hold(store, argument))
        await store.close()
    except SluiceError as error:
        print(f"error {error.code} {error.problem.what}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
