"""What a plan recalls from the ledger: the newest fact of each kind by address, however old it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from environments.names import Address, parse_address
from reconciler.core.canonical import Json
from reconciler.core.events import CACHE, CAPACITY, STATE
from reconciler.core.plan.measured import Measurement
from reconciler.core.plan.memory import LoggedCache
from reconciler.ports import Store


@dataclass(frozen=True)
class Recalled:
    """By address, the newest of each: `facts` that were recorded as live, `measured` capacity, `logged` KV caches."""

    facts: Mapping[Address, Json]
    measured: Mapping[Address, Measurement]
    logged: Mapping[Address, LoggedCache] = field(default_factory=dict)


async def recall(store: Store, environment: str) -> Recalled:
    """Return what the ledger last said of each address; facts of what was removed are left out."""
    states = await store.newest(environment, STATE)
    measured: dict[Address, Measurement] = {}
    for entry in await store.newest(environment, CAPACITY):
        body = entry.body
        found = Measurement(float(body["rate_rps"]), int(body["replicas"]), body["release"], entry.at)
        measured[parse_address(entry.address)] = found
    facts = {parse_address(entry.address): entry.body for entry in states if not entry.body.get("removed")}
    return Recalled(facts, measured, await _logged(store, environment))


async def _logged(store: Store, environment: str) -> dict[Address, LoggedCache]:
    found = {}
    for entry in await store.newest(environment, CACHE):
        body = entry.body
        told = LoggedCache(body["release"], body["gpu"], int(body["tokens"]), float(body["concurrency"]), entry.at)
        found[parse_address(entry.address)] = told
    return found
