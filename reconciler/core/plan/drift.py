"""Drift: what is live against what the ledger last recorded, and a saved plan's world against today's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.model.observed import ObservedState, endpoint_facts


@dataclass(frozen=True, order=True)
class Drift:
    """One fact that differs: what was recorded and what is live, as text; None where there is nothing."""

    address: str
    path: str
    recorded: str | None
    live: str | None


def drift(recorded: Mapping[Address, Json], observed: ObservedState) -> tuple[Drift, ...]:
    """Return every difference between recorded facts and live ones that an apply can mend, sorted.

    `recorded` holds `endpoint_facts` by address. What was never recorded is not drift.
    """
    found = []
    for address, facts in recorded.items():
        live = observed.endpoints.get(address)
        before, now = facts, endpoint_facts(live) if live else {}
        found += facts_that_moved(str(address), _mendable(before, now), _mendable(now, before))
    return tuple(sorted(found))


def _mendable(facts: Json, other: Json) -> Json:
    """Return what of one endpoint's facts an apply would put right: its weights, prompts, and what carries traffic.

    What lies in a slot without traffic is no drift: it comes and goes, and nothing has to be done about it.
    """
    slots, others = facts.get("slots", {}), other.get("slots", {})
    kept = {}
    for name, slot in slots.items():
        carries = slot.get("weight_pct") or others.get(name, {}).get("weight_pct")
        wanted = ("release", "weight_pct", "ready") if carries else ("weight_pct",)
        kept[name] = {key: slot[key] for key in wanted if key in slot}
    return {**facts, "slots": kept}


def facts_that_moved(address: str, before: Json, after: Json) -> list[Drift]:
    """Return the leaves that differ between two facts of one address; empty slots are left out."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    keys = sorted({*old, *new} - {"address"})
    return [Drift(address, key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def drift_to_json(found: Drift) -> Json:
    """Return one line of the plan's `drift`."""
    return {"address": found.address, "path": found.path, "recorded": found.recorded, "live": found.live}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, ", ".join(" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    elif value is not None:
        yield path, f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
