"""What a plan recalls from the ledger, in one pass over its newest entries. Imports the core and the store's port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from environments.names import Address, parse_address
from reconciler.core.canonical import Json
from reconciler.core.measured import Measurement
from reconciler.ports import Store

CAPACITY = "capacity"
STATE = "state"
ENTRIES_MAX = 2000


@dataclass(frozen=True)
class Recalled:
    """By address, the newest of each: `facts` that were recorded as live, and `measured` capacity."""

    facts: Mapping[Address, Json]
    measured: Mapping[Address, Measurement]


async def recall(store: Store, environment: str) -> Recalled:
    """Read the newest `ENTRIES_MAX` entries; older ones are not recalled, nor are facts of what was removed."""
    facts: dict[Address, Json] = {}
    measured: dict[Address, Measurement] = {}
    async for entry in store.entries(environment, newest_first=True, limit=ENTRIES_MAX):
        if entry.kind == STATE:
            facts.setdefault(parse_address(entry.address), entry.body)
        elif entry.kind == CAPACITY:
            body = entry.body
            found = Measurement(float(body["rate_rps"]), int(body["replicas"]), body["release"], entry.at)
            measured.setdefault(parse_address(entry.address), found)
    return Recalled({address: f for address, f in facts.items() if not f.get("removed")}, measured)
