"""Draw the mutants that are tried: a sample that is the same for one seed and one source, drawn room by room. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

CORE = "reconciler.core."
ROOMS: Mapping[str, float] = MappingProxyType(
    {"rollout": 0.45, "plan": 0.2, "model": 0.15, "slo_check": 0.07, "judge": 0.08, "other": 0.05}
)
"""The share of the sample that each room gets: most goes to what decides. The judge has more mutants than all others
together, and a bench of its own measures its numbers (`make bench-judge`)."""


@dataclass(frozen=True)
class Mutant:
    """One mutant by mutmut's name, such as `reconciler.core.rollout.after.x_holds__mutmut_3`."""

    name: str

    @property
    def room(self) -> str:
        """Return which share of the sample it counts for."""
        first = self.name.removeprefix(CORE).split(".", 1)[0]
        return first if first in ROOMS else "other"

    @property
    def function(self) -> str:
        """Return the function that it changes, as `rollout/after.py holds`; a method as `FILE Class.name`."""
        module, _, mangled = self.name.removeprefix(CORE).rpartition(".")
        plain = mangled.rsplit("__mutmut_", 1)[0].removeprefix("x")
        return f"{module.replace('.', '/')}.py {'.'.join(plain.strip('ǁ').split('ǁ')) if 'ǁ' in plain else plain[1:]}"


def sample(names: Iterable[str], size: int, seed: int) -> list[str]:
    """Return about `size` names, sorted: each room's share of them, or all of a room that has fewer."""
    by_room: dict[str, list[str]] = {}
    for name in sorted(names):
        by_room.setdefault(Mutant(name).room, []).append(name)
    whole = sum(ROOMS[room] for room in by_room)
    # One draw for each room: a mutant that is added to one leaves the sample of the others as it was.
    drawn = [
        name
        for room, found in by_room.items()
        for name in random.Random(f"{seed} {room}").sample(found, min(round(size * ROOMS[room] / whole), len(found)))
    ]
    return sorted(drawn)
