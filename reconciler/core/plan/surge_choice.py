"""What a rollout takes on top while it runs, with `surge: follow` and with `swap`, side by side. Pure.

Neither is chosen here: the file chooses, and a reviewer sees what the other one would have taken and given back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.spec import EndpointSpec, EnvironmentSpec
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredState
from reconciler.core.plan.change import LOADS, Action, Change
from reconciler.core.plan.duration import start_seconds
from reconciler.core.rollout.surge import SWAP

FOLLOW = "follow"


@dataclass(frozen=True)
class SurgeChoice:
    """One way at one address. `back_by_weight_pct` is the share that goes back at once at the worst moment.

    `back_rest_s` is how long the servers of the rest then take to come back, one cold start after another where they
    cannot all start at once.
    """

    mode: str
    gpus_on_top: int
    fits: bool
    back_by_weight_pct: float
    back_rest_s: float


def on_top(gpus: int, per_replica: int, surge_replicas: int, mode: str) -> int:
    """Return the GPUs that a rollout needs on top at its peak: a second slot, or with `swap` what may exceed it."""
    return min(gpus, surge_replicas * per_replica) if mode == SWAP else gpus


def surge_gpus(declared: EndpointSpec) -> int:
    """Return what a rollout of an endpoint needs on top at its smallest, in the mode that the file declares."""
    gpus, how = declared.replicas.min * declared.gpus_per_replica, declared.rollout
    return on_top(gpus, declared.gpus_per_replica, how.surge_replicas, how.surge)


def choices(
    gpus: int, per_replica: int, surge_replicas: int, *, free_gpus: int, start_s: float
) -> tuple[SurgeChoice, SurgeChoice]:
    """Return both ways of an endpoint of `gpus`; `free_gpus` are left by pool and quota, `start_s` is a cold start."""
    steady = max(1, gpus // max(1, per_replica))
    kept = min(steady, surge_replicas)
    rounds = math.ceil((steady - kept) / surge_replicas)
    follow, swap = (on_top(gpus, per_replica, surge_replicas, mode) for mode in (FOLLOW, SWAP))
    return (
        SurgeChoice(FOLLOW, follow, follow <= free_gpus, 100.0, 0.0),
        SurgeChoice(SWAP, swap, swap <= free_gpus, round(100.0 * kept / steady, 1), round(rounds * start_s, 1)),
    )


def surge_choices(spec: EnvironmentSpec, desired: DesiredState, changes: Sequence[Change]) -> tuple[Json, ...]:
    """Return both ways of every rollout of a plan that loads, as lines of the plan's `capacity`, sorted by address."""
    loads = {c.address for c in changes if c.action is Action.ROLLOUT and c.moves_by in LOADS}
    steady, found = steady_by_pool(spec), []
    for each in desired.endpoints:
        declared = spec.endpoints.get(each.address.endpoint)
        pooled = (each.pool or "") in spec.regions[each.address.region].gpu_pools
        if declared and pooled and each.address in loads:
            free = free_gpus(spec, steady, each.address.region, each.pool or "")
            per_replica, spare = declared.gpus_per_replica, each.settings.surge_replicas
            made = choices(each.gpus, per_replica, spare, free_gpus=free, start_s=start_seconds(each.release))
            told = {way.mode: {k: v for k, v in vars(way).items() if k != "mode"} for way in made}
            found.append({"address": str(each.address), "surge": {"declared": each.settings.surge, **told}})
    return tuple(found)


def free_gpus(spec: EnvironmentSpec, steady: Mapping[tuple[str, str], int], region: str, pool: str) -> int:
    """Return the GPUs of a pool that nothing declared needs, or what the quota leaves where that is less."""
    pools = spec.regions[region].gpu_pools
    free = pools[pool].nodes.max * pools[pool].gpus_per_node - steady.get((region, pool), 0)
    quota = spec.infrastructure.gpu_quota.get(region) if spec.infrastructure else None
    used = sum(steady.get((region, name), 0) for name in pools)
    return max(0, free if quota is None else min(free, quota - used))


def steady_by_pool(spec: EnvironmentSpec) -> dict[tuple[str, str], int]:
    """Return by (region, pool) what all endpoints need at their smallest, those that no plan touches too."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for name, endpoint in spec.endpoints.items():
        for region in spec.regions_of(name):
            if endpoint.pool and endpoint.pool in spec.regions[region].gpu_pools:
                found[region, endpoint.pool] += endpoint.replicas.min * endpoint.gpus_per_replica
    return dict(found)
