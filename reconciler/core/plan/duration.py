"""How long a plan's rollouts take when nothing goes wrong, and at most: stated assumptions, never a promise. Pure.

What is declared is taken as it is (steps, bake, gates' limits); machines and starts are assumed, and a plan says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.memory.interval import GIB
from reconciler.core.model.desired import DesiredEndpoint
from reconciler.core.model.release import Release
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.plan.change import COLD_LOADS, LOADS, Action, Change, MovesBy

NODES_S = 240.0  # from a pod that waits to a GPU node that is ready, its driver and image included
START_S = 60.0  # of an engine besides its weights: imports, compilation, graphs
LOAD_BYTES_PER_S = 0.3 * GIB  # an 8B model of 15 GiB in 48 s: the loader's documented figure without streaming
UNKNOWN_WEIGHTS_S = 120.0
WARM_REQUEST_S = 0.5
EVAL_S = 300.0
ASSUMED: Mapping[str, float] = {
    "nodes_s": NODES_S,
    "start_s": START_S,
    "load_gib_per_s": LOAD_BYTES_PER_S / GIB,
    "unknown_weights_s": UNKNOWN_WEIGHTS_S,
    "warm_request_s": WARM_REQUEST_S,
    "eval_s": EVAL_S,
}


@dataclass(frozen=True)
class Phase:
    """One part of a region's rollout in seconds: as it goes when nothing is in the way, and at most.

    `share_pct` is the challenger's traffic meanwhile, which decides how many of its servers run.
    """

    name: str
    ideal_s: float
    most_s: float
    share_pct: float = 0.0


def start_seconds(release: Release) -> float:
    """Return a cold start: an engine's own time and its weights', from what the registry says of their size."""
    lineage = release.lineage.get("model")
    size = sum(lineage.size.weight_bytes.values()) if lineage and lineage.size else 0
    return round(START_S + (size / LOAD_BYTES_PER_S if size else UNKNOWN_WEIGHTS_S), 1)


def phases_of(change: Change, desired: DesiredEndpoint) -> tuple[Phase, ...]:
    """Return the phases that one address goes through, in their order; those that it does not need are left out."""
    how = desired.settings
    if change.action in (Action.NONE, Action.REMOVE):
        return ()
    found = list(_prepared(change, desired))
    if change.action is Action.UPDATE:
        return tuple(found)
    found += [Phase(f"gate:{name}", *_gate(name, how)) for name in how.gate_names]
    if change.action is Action.ROLLOUT:
        found += [Phase(f"{share:g} %", how.step_min_s, how.step_max_s, share) for share in how.ladder]
    if how.bake_s > 0:
        found.append(Phase("bake", how.bake_s, how.bake_s, 100.0))
    return tuple(found)


def total_s(phases: Iterable[Phase]) -> tuple[float, float]:
    """Return the seconds of all phases: ideal, and at most."""
    told = list(phases)
    return sum(p.ideal_s for p in told), sum(p.most_s for p in told)


def rollout_times(changes: Sequence[Change], desired: Mapping[Address, DesiredEndpoint]) -> tuple[Json, ...]:
    """Return how long each endpoint's rollout takes, sorted: waves one after another, the regions of one at once."""
    waves: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for change in changes:
        each = desired.get(change.address)
        phases = phases_of(change, each) if each else ()
        if each and phases:
            waves.setdefault(change.address.endpoint, {}).setdefault(each.wave, []).append(total_s(phases))
    return tuple(_told(name, times) for name, times in sorted(waves.items()))


def _told(endpoint: str, waves: Mapping[int, list[tuple[float, float]]]) -> Json:
    ideal = sum(max(each[0] for each in times) for times in waves.values())
    most = sum(max(each[1] for each in times) for times in waves.values())
    return {"endpoint": endpoint, "ideal_s": round(ideal, 1), "most_s": round(most, 1), "waves": len(waves)}


def _prepared(change: Change, desired: DesiredEndpoint) -> Iterator[Phase]:
    how = desired.settings
    if change.moves_by is MovesBy.NEW_NODES:
        yield Phase("nodes", NODES_S, how.start_timeout_s)
    if change.moves_by in COLD_LOADS:
        start = start_seconds(desired.release)
        yield Phase("start", start, max(start, how.start_timeout_s))
    if change.moves_by in LOADS and how.warmup_requests:
        warm = how.warmup_requests * WARM_REQUEST_S
        yield Phase("warm", warm, warm)


def _gate(name: str, how: RolloutSettings) -> tuple[float, float]:
    most = how.gates[name].get("max_duration_s")
    return (EVAL_S, EVAL_S) if most is None else (min(EVAL_S, float(most)), float(most))
