"""Changes: what differs between declared and live, one for each endpoint and region. Pure data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from environments.names import Address
from reconciler.core.canonical import Json

_RETIRED = re.compile(r"slots\.\w+\.release")


class Action(StrEnum):
    """What a plan does to one address."""

    CREATE = "create"
    ROLLOUT = "rollout"
    UPDATE = "update"
    REMOVE = "remove"
    NONE = "none"


class MovesBy(StrEnum):
    """The most expensive preparation that a change needs before traffic can move, cheapest first.

    `retire` moves no traffic: it ends what was kept warm.
    """

    POINTER = "pointer"
    WEIGHT = "weight"
    WARM_LOAD = "warm_load"
    COLD_LOAD = "cold_load"
    NEW_NODES = "new_nodes"
    RETIRE = "retire"


COLD_LOADS = (MovesBy.COLD_LOAD, MovesBy.NEW_NODES)
"""What starts a server."""
LOADS = (*COLD_LOADS, MovesBy.WARM_LOAD)
"""What takes GPUs on top while a rollout lasts."""


@dataclass(frozen=True, order=True)
class FieldChange:
    """One field that differs; `before` or `after` is None when the field is not there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, order=True)
class Change:
    """Everything that differs at one address, fields sorted by path. `release` is the id that the change leads to."""

    address: Address
    action: Action
    fields: tuple[FieldChange, ...]
    moves_by: MovesBy
    release: str | None = None

    @property
    def retires(self) -> bool:
        """Say whether it also ends what was kept warm in a slot."""
        return any(_RETIRED.fullmatch(field.path) for field in self.fields)


def change_to_json(change: Change) -> Json:
    """Return the change as `plan --json` shows it."""
    return {
        "address": str(change.address),
        "action": str(change.action),
        "fields": [{"path": f.path, "from": f.before, "to": f.after} for f in change.fields],
        "moves_by": str(change.moves_by),
        "release": change.release,
    }
