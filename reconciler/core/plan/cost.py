"""What a plan costs: a month of what it declares, once for its rollouts, by team and by million tokens. Pure.

Machines at list prices; an estimate for comparing two plans, never a bill. A rollout is counted as it goes when nothing
is in the way. What has no price is named and counted nowhere.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from environments.names import Address
from environments.prices import EC2, SAGEMAKER, SPOT_SHARE, Price, PriceBook
from environments.spec import EnvironmentSpec, GpuPool
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.capacity import PoolNeed
from reconciler.core.plan.change import LOADS, Action, Change
from reconciler.core.plan.duration import ASSUMED, phases_of, rollout_times
from reconciler.core.plan.surge_choice import on_top, steady_by_pool
from reconciler.core.plan.token_cost import token_costs
from reconciler.core.rollout.surge import SWAP, servers_for

HOURS_A_MONTH = 730.0
_HOUR_S = 3600.0


@dataclass(frozen=True)
class PoolPrice:
    """A pool and what one of its nodes costs on demand, as the book says it for the pool's region and platform."""

    region: str
    name: str
    pool: GpuPool
    price: Price

    def usd_per_hour(self, nodes: float) -> float | None:
        """Return what so many nodes cost together, with `on_demand_floor` of a spot pool at the full price."""
        usd = self.price.usd_per_hour
        if usd is None:
            return None
        if self.pool.capacity != "spot":
            return nodes * usd
        full = min(nodes, float(self.pool.on_demand_floor))
        return (full + (nodes - full) * SPOT_SHARE) * usd

    def nodes(self, gpus: int) -> int:
        """Return the nodes that run for so many GPUs: those that always do at the least."""
        return max(self.pool.nodes.min, math.ceil(gpus / self.pool.gpus_per_node))

    def more(self, steady: int, extra: int) -> float | None:
        """Return what GPUs on top cost an hour: nothing where nodes that run anyway have room for them."""
        before, after = self.nodes(steady), self.nodes(steady + extra)
        low, high = self.usd_per_hour(before), self.usd_per_hour(after)
        return None if low is None or high is None else high - low


def pool_price(spec: EnvironmentSpec, book: PriceBook, region: str, name: str) -> PoolPrice:
    """Return a pool with its price; SageMaker's machines have prices of their own."""
    declared = spec.regions[region]
    pool = declared.gpu_pools[name]
    service = SAGEMAKER if declared.platform == "sagemaker" else EC2
    return PoolPrice(region, name, pool, book.find(service, region, pool.instance))


def cost_of(
    spec: EnvironmentSpec,
    needs: Sequence[PoolNeed],
    book: PriceBook,
    desired: DesiredState | None = None,
    changes: Sequence[Change] = (),
    rates_rps: Mapping[Address, float] | None = None,
) -> Json:
    """Return the plan's `cost` in USD; `rates_rps` are measured rates by address, for endpoints that declare none."""
    priced = {(n.region, n.pool): pool_price(spec, book, n.region, n.pool) for n in needs}
    steady = surge = 0.0
    for need in needs:
        each = priced[need.region, need.pool]
        runs = each.usd_per_hour(each.nodes(need.gpus_steady)) or 0.0
        steady += runs
        surge += max(0.0, (each.usd_per_hour(need.nodes_at_peak) or 0.0) - runs)
    endpoints = desired.endpoints if desired else ()
    rollouts = _rollouts(spec, priced, endpoints, changes)
    return {
        "steady_usd_per_hour": round(steady, 4),
        "surge_usd_per_hour": round(surge, 4),
        "steady_usd_per_month": round(steady * HOURS_A_MONTH, 2),
        "rollouts": rollouts,
        "teams": _teams(spec, priced, endpoints),
        "tokens": token_costs(spec, endpoints, _hourly(priced, endpoints), rates_rps or {}),
        "prices": _version(priced.values(), book),
        "unpriced": sorted({p.pool.instance for p in priced.values() if p.price.usd_per_hour is None}),
        "unknown": sorted({p.price.reason for p in priced.values() if p.price.usd_per_hour is None}),
        "assumed": dict(sorted(ASSUMED.items())) if rollouts else {},
    }


def without_measurements(cost: Json) -> Json:
    """Return the cost without what depends on measured rates: measuring again is no other plan."""
    return {key: value for key, value in cost.items() if key != "tokens"}


def extra_usd(
    priced: PoolPrice, steady: int, desired: DesiredEndpoint, change: Change, per_replica: int
) -> float | None:
    """Return what one address's rollout costs until it is promoted: the challenger's servers grow with its share."""
    how, replicas = desired.settings, max(1, desired.gpus // max(1, per_replica))
    usd = 0.0
    for phase in phases_of(change, desired):
        share = phase.share_pct or (how.ladder[0] if how.ladder else 100.0)
        gpus = on_top(servers_for(share, replicas) * per_replica, per_replica, how.surge_replicas, how.surge)
        more = priced.more(steady, gpus)
        if more is None:
            return None
        usd += more * phase.ideal_s / _HOUR_S
    return usd


def warm_usd(
    priced: PoolPrice, steady: int, desired: DesiredEndpoint, per_replica: int, keep_warm_s: float
) -> float | None:
    """Return what the old slot costs from the promotion until it is retired: all its servers, or what `swap` left."""
    how = desired.settings
    kept = min(desired.gpus, how.surge_replicas * per_replica) if how.surge == SWAP else desired.gpus
    more = priced.more(steady, kept)
    return None if more is None else more * keep_warm_s / _HOUR_S


def _rollouts(
    spec: EnvironmentSpec,
    priced: Mapping[tuple[str, str], PoolPrice],
    endpoints: Sequence[DesiredEndpoint],
    changes: Sequence[Change],
) -> list[Json]:
    """Return each endpoint's rollout: how long it takes and what it costs once, each as if it were alone."""
    by_address, running = {each.address: each for each in endpoints}, steady_by_pool(spec) if changes else {}
    once: dict[str, list[tuple[float | None, float | None]]] = defaultdict(list)
    for change in changes:
        each = by_address.get(change.address)
        pool = priced.get((change.address.region, each.pool or "")) if each else None
        if each is None or pool is None or change.action is not Action.ROLLOUT or change.moves_by not in LOADS:
            continue
        declared = spec.endpoints[change.address.endpoint]
        steady = running[pool.region, pool.name]
        surge = extra_usd(pool, steady, each, change, declared.gpus_per_replica)
        warm = warm_usd(pool, steady, each, declared.gpus_per_replica, declared.rollout.keep_warm_s)
        once[change.address.endpoint].append((surge, warm))
    told = []
    for times in rollout_times(changes, by_address):
        surge, warm = (_sum([each[n] for each in once[times["endpoint"]]]) for n in (0, 1))
        told.append({**times, "surge_usd": surge, "warm_usd": warm})
    return told


def _teams(
    spec: EnvironmentSpec, priced: Mapping[tuple[str, str], PoolPrice], endpoints: Sequence[DesiredEndpoint]
) -> list[Json]:
    """Return each team's month: its share of nodes by GPUs; None where one of its machines has no price."""
    usd: dict[str, list[float | None]] = defaultdict(list)
    for each, hourly in zip(endpoints, _hourly(priced, endpoints), strict=True):
        if (each.address.region, each.pool or "") in priced:
            usd[each.team].append(None if hourly is None else hourly * HOURS_A_MONTH)
    return [
        {
            "team": team,
            "usd_per_month": _sum(parts),
            "budget_usd_per_month": budget.budget_usd_per_month if (budget := spec.teams.get(team)) else None,
        }
        for team, parts in sorted(usd.items())
    ]


def _hourly(priced: Mapping[tuple[str, str], PoolPrice], endpoints: Sequence[DesiredEndpoint]) -> list[float | None]:
    """Return what each endpoint's GPUs cost an hour at its smallest size: its part of the nodes that it is on."""
    found: list[float | None] = []
    for each in endpoints:
        pool = priced.get((each.address.region, each.pool or ""))
        usd = pool.usd_per_hour(1.0) if pool else None
        found.append(None if pool is None or usd is None else usd * each.gpus / pool.pool.gpus_per_node)
    return found


def _version(priced: Iterable[PoolPrice], book: PriceBook) -> str:
    """Return how old the prices are that count here: the oldest day of those that were used."""
    days = [each.price.date for each in priced if each.price.usd_per_hour is not None]
    return f"aws {min(days)}" if days else book.version


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [each for each in parts if each is not None]
    return round(sum(known), 2) if len(known) == len(parts) else None
