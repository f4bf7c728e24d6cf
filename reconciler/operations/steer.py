"""Steer a rollout that is in flight: pause, resume, abort, promote. Each wish is in the ledger with who and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.events import OperatorAction
from reconciler.core.model.rollout import Rollout, rollout_from_json, rollout_to_json
from reconciler.core.rollout.operator import aborted, paused, promoted_by_hand, resumed
from reconciler.engine.apply import Applier, Outcome
from reconciler.engine.owner import operator_name
from reconciler.ports import Store, entry_of

Kind = Literal["pause", "resume", "abort", "promote"]
_CONFLICTS_MAX = 100  # its owner changes it several times a second; a wish is not to lose against it
_CHANGES: Mapping[Kind, Callable[[Rollout, str, float], Rollout]] = {
    "pause": lambda rollout, reason, now: paused(rollout, reason),
    "resume": lambda rollout, reason, now: resumed(rollout, now),
    "abort": lambda rollout, reason, now: aborted(rollout, reason),
    "promote": promoted_by_hand,
}


@dataclass(frozen=True)
class Wish:
    """What an operator wants of a rollout, and why."""

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Steered:
    """A wish that was noted. `outcome` is None when the rollout's owner, who is alive, carries it out."""

    rollout: Rollout
    wish: Wish
    owner: str | None
    outcome: Outcome | None


async def steer(store: Store, applier: Applier, environment: str, endpoint: str, wish: Wish) -> Steered:
    """Note a wish, and carry it out here unless the rollout's owner is alive and does.

    Raises:
        SluiceError: `ROLL-002` no rollout is in flight; `ROLL-006` it is being rolled back already.
    """
    rollout = await note(store, environment, endpoint, wish)
    try:
        return Steered(rollout, wish, None, await applier.resume(rollout))
    except SluiceError as error:
        if error.code != "LEASE-001":
            raise
        lease = await store.lease(f"{environment}/{endpoint}")
        return Steered(rollout, wish, lease.owner if lease else None, None)


async def note(store: Store, environment: str, endpoint: str, wish: Wish) -> Rollout:
    """Write a wish into the rollout and the ledger, in one transaction; its owner reads it within a second.

    Raises:
        SluiceError: `ROLL-002` no rollout is in flight; `ROLL-006` it is being rolled back already.
    """
    for attempt in range(_CONFLICTS_MAX):
        active = await store.rollouts(environment, endpoint=endpoint, active=True, limit=1)
        if not active:
            raise SluiceError(
                "ROLL-002",
                where=str(Address.everywhere(environment, endpoint)),
                what="there is no rollout in flight",
                do=f"sluice status {environment}",
            )
        now = time.time()
        rollout = _CHANGES[wish.kind](rollout_from_json(active[0].body), wish.reason, now)
        who = operator_name()
        entry = entry_of(OperatorAction(rollout, wish.kind, who, wish.reason), now=now, actor=who)
        try:
            await store.save_rollout(active[0], rollout_to_json(rollout), active=True, lease=None, entries=[entry])
        except SluiceError as error:
            if error.code != "STORE-002" or attempt == _CONFLICTS_MAX - 1:
                raise
            continue
        return rollout
    raise AssertionError("unreachable")
