"""GPU need of a plan: what every pool holds now, at the peak of the rollout and afterwards. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from environments.spec import EnvironmentSpec
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.change import Action, Change, MovesBy
from reconciler.core.plan.retire import KeptSlot
from reconciler.core.plan.surge_choice import on_top


@dataclass(frozen=True, order=True)
class PoolNeed:
    """One pool of one region, in GPUs. `surge` is what the rollouts need on top while champion and challenger run,
    `kept_warm` what earlier promotions left warm, so that going back is a weight.
    """

    region: str
    pool: str
    gpus_steady: int
    gpus_surge: int
    gpus_max: int
    nodes_now_min: int
    nodes_at_peak: int
    gpus_kept_warm: int = 0

    @property
    def fits(self) -> bool:
        """Return whether the pool may grow large enough for the peak."""
        return self.gpus_steady + self.gpus_surge + self.gpus_kept_warm <= self.gpus_max


def pool_needs(
    spec: EnvironmentSpec, desired: DesiredState, changes: Sequence[Change], kept: Sequence[KeptSlot] = ()
) -> tuple[PoolNeed, ...]:
    """Return the need of every pool that an endpoint of this plan uses, sorted; `kept` are slots kept warm now."""
    loads = {c.address for c in changes if c.moves_by in (MovesBy.COLD_LOAD, MovesBy.NEW_NODES, MovesBy.WARM_LOAD)}
    moving = {c.address for c in changes if c.action is Action.ROLLOUT} & loads
    steady: dict[tuple[str, str], int] = defaultdict(int)
    surge: dict[tuple[str, str], int] = defaultdict(int)
    warm: dict[tuple[str, str], int] = defaultdict(int)
    idle = {each.address for each in kept}
    retired = {c.address for c in changes if c.retires}
    for each in desired.endpoints:
        if each.pool is not None and each.pool in spec.regions[each.address.region].gpu_pools:
            key = (each.address.region, each.pool)
            steady[key] += each.gpus
            surge[key] += _surge_gpus(spec, each) if each.address in moving else 0
            # The challenger takes the slot that was kept warm, so a rollout needs it once.
            warm[key] += each.gpus if each.address in idle - moving - retired else 0
    return tuple(_need(spec, key, steady[key], surge[key], warm[key]) for key in sorted(steady))


def _surge_gpus(spec: EnvironmentSpec, desired: DesiredEndpoint) -> int:
    """Return what a rollout needs on top at its peak: a second slot, or with `swap` the replicas that may exceed it."""
    declared, how = spec.endpoints.get(desired.address.endpoint), desired.settings
    return on_top(desired.gpus, declared.gpus_per_replica if declared else 1, how.surge_replicas, how.surge)


def _need(spec: EnvironmentSpec, key: tuple[str, str], steady: int, surge: int, warm: int) -> PoolNeed:
    region, name = key
    pool = spec.regions[region].gpu_pools[name]
    peak = math.ceil((steady + surge + warm) / pool.gpus_per_node)
    return PoolNeed(region, name, steady, surge, pool.nodes.max * pool.gpus_per_node, pool.nodes.min, peak, warm)


def need_to_json(need: PoolNeed) -> Json:
    """Return one line of the plan's `capacity`; lines that name an `address` instead are `MeasuredCapacity`."""
    return {
        "region": need.region,
        "pool": need.pool,
        "gpus_steady": need.gpus_steady,
        "gpus_surge": need.gpus_surge,
        "gpus_kept_warm": need.gpus_kept_warm,
        "gpus_max": need.gpus_max,
        "nodes_at_peak": need.nodes_at_peak,
        "fits": need.fits,
    }
