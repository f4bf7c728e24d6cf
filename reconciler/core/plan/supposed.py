"""A world that nobody looked at: as a file declares it, or as the ledger last recorded it. Pure.

Plans are made against it where live state cannot be read; what comes of them is for reviewers and never applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.errors import SluiceError
from environments.names import SLOTS, Address
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, ObservedState, Replica, ServerState
from reconciler.core.model.release import Release


def as_declared(desired: DesiredState) -> ObservedState:
    """Return the world in which all that is declared serves: one slot of each endpoint has all of its traffic."""
    return ObservedState({each.address: _serving(each) for each in desired.endpoints})


def as_recorded(facts: Mapping[Address, Json], releases: Mapping[str, Release]) -> ObservedState:
    """Return the world of recorded facts (`endpoint_facts`), with the releases that their ids stand for.

    Raises:
        SluiceError: `PLAN-008` no rollout remembers a release that is recorded as serving.
    """
    return ObservedState({address: _recorded(address, body, releases) for address, body in sorted(facts.items())})


def _serving(desired: DesiredEndpoint) -> ObservedEndpoint:
    release = desired.release
    slots = {name: ObservedSlot() for name in SLOTS} | {SLOTS[0]: _slot(release, max(1, desired.replicas), 100.0)}
    shares = ((release.id, 100.0),)
    return ObservedEndpoint(desired.address, slots, dict.fromkeys(sorted(release.prompts), shares))


def _recorded(address: Address, body: Json, releases: Mapping[str, Release]) -> ObservedEndpoint:
    slots = {name: _recorded_slot(address, slot, releases) for name, slot in body["slots"].items()}
    prompts = {name: tuple((str(id), float(pct)) for id, pct in shares) for name, shares in body["prompts"].items()}
    return ObservedEndpoint(address, {name: ObservedSlot() for name in SLOTS} | slots, prompts)


def _recorded_slot(address: Address, slot: Mapping[str, Any], releases: Mapping[str, Release]) -> ObservedSlot:
    id, weight_pct = slot["release"], float(slot["weight_pct"])
    if id in releases:
        return _slot(releases[id], 1, weight_pct)
    if id is not None and weight_pct > 0:
        raise SluiceError(
            "PLAN-008",
            where=str(address),
            what=f"nothing remembers what release {id} is made of",
            why="the ledger recorded that it serves, and no rollout of it is stored",
            do="make the plan of what is live: sluice plan ENV",
        )
    return ObservedSlot()


def _slot(release: Release, servers: int, weight_pct: float) -> ObservedSlot:
    replicas = tuple(Replica(str(n), ServerState.READY, warm=True) for n in range(servers))
    return ObservedSlot(release, replicas, servers, weight_pct)
