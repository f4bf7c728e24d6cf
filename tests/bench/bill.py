"""What a plan says it costs, against a simulated bill: `python -m tests.bench.bill`.

The simulator knows nothing of the estimate: it lets servers come and go second by second, machines behind them, and
bills what ran. Starts, machines and steps take other times than assumed, and machines stay a while after their last
server. Prints both medians and what the cost takes of a plan's time; ends with 1 when a figure is missed.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from environments.names import Address
from environments.prices import packaged
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.observed import ObservedEndpoint, ObservedState
from reconciler.core.model.settings import RolloutSettings, settings_of
from reconciler.core.plan.capacity import pool_needs
from reconciler.core.plan.cost import cost_of
from reconciler.core.plan.duration import NODES_S, start_seconds
from reconciler.core.plan.plan import World, changes_of, make_plan
from tests.support.builders.releases import endpoint, release

RUNS, SEED, MONTH_S = 400, 20261130, 730 * 3600.0
ERROR_MAX, SHARE_MAX = 0.05, 0.05
REGION, MACHINES = "us-east-1", ("g6.2xlarge", "g6e.2xlarge", "g5.xlarge", "g6.12xlarge")
OLD, NEW = release("one"), release("two")


@dataclass(frozen=True)
class Case:
    """One endpoint with its pool, on its way to another release."""

    spec: EnvironmentSpec
    desired: DesiredState
    settings: RolloutSettings

    @property
    def world(self) -> World:
        """Return the world in which the old release serves alone."""
        live = {
            e.address: endpoint({"a": (OLD, 100.0), "b": (None, 0.0)}, region=REGION) for e in self.desired.endpoints
        }
        return World(self.spec, self.desired, ObservedState(live), {}, prices=packaged())


def case(chance: random.Random) -> Case:
    """Draw an endpoint: its machines, replicas, ladder, times and surge."""
    machine = chance.choice(MACHINES)
    per_node, replicas = (4 if machine.endswith("12xlarge") else 1), chance.randint(1, 8)
    pool = {
        "gpu": "L4", "instance": machine, "gpus_per_node": per_node, "vram_gib": 24,
        "nodes": {"min": chance.choice((0, 0, 1, 2)), "max": 40},
        "capacity": chance.choice(("on_demand", "on_demand", "spot")), "on_demand_floor": chance.randint(0, 3),
    }  # fmt: skip
    rollout = {
        "steps_pct": sorted(chance.sample([1.0, 5.0, 10.0, 25.0, 50.0], chance.randint(1, 4))),
        "step_min_s": float(chance.choice((120, 300, 600, 1800))), "step_max_s": 7200.0,
        "bake_s": float(chance.choice((600, 1800, 3600))), "keep_warm_s": float(chance.choice((1800, 3600, 14400))),
        "surge": chance.choice(("follow", "swap")), "surge_replicas": chance.randint(1, 3),
    }  # fmt: skip
    chat = {
        "team": "t", "runtime": "vllm", "pool": "p", "replicas": {"min": replicas, "max": replicas},
        "rollout": rollout, "release": {"model": "file:m"},
    }  # fmt: skip
    region = {"platform": "kubernetes", "gpu_pools": {"p": pool}}
    spec = EnvironmentSpec.model_validate(
        {"environment": "test", "owner": "us", "store": "sqlite:///x.db", "regions": {REGION: region},
         "endpoints": {"chat": chat}}
    )  # fmt: skip
    settings = settings_of(spec.endpoints["chat"])
    each = DesiredEndpoint(Address("test", REGION, "chat"), 0, NEW, settings, "t", "p", replicas, replicas)
    return Case(spec, DesiredState("test", (each,)), settings)


def billed(drawn: Case, chance: random.Random) -> tuple[float, float]:
    """Return a simulated month's bill without the rollout, and what the rollout and its warm slot added to it."""
    pool, declared = drawn.spec.regions[REGION].gpu_pools["p"], drawn.spec.endpoints["chat"]
    steady = declared.replicas.min
    usd = packaged().find("ec2", REGION, pool.instance).usd_per_hour
    assert usd is not None

    def second(servers: int) -> float:
        nodes = max(pool.nodes.min, math.ceil(servers / pool.gpus_per_node))
        full = nodes if pool.capacity != "spot" else min(nodes, pool.on_demand_floor)
        return (full + (nodes - full) * 0.4) * usd / 3600

    alone = second(steady) * MONTH_S
    added = sum((second(n) - second(steady)) * s for s, n in servers_over_time(drawn, chance, needs_nodes=second))
    return alone, added


def servers_over_time(drawn: Case, chance: random.Random, *, needs_nodes: Any) -> list[tuple[float, int]]:
    """Return (seconds, servers of both slots together) from the first server on top to the last."""
    how, steady = drawn.settings, drawn.spec.endpoints["chat"].replicas.min
    keep_s = drawn.spec.endpoints["chat"].rollout.keep_warm_s
    swaps = how.surge == "swap"

    def together(share: float) -> int:
        ours = max(1, math.ceil(share * steady / 100 - 1e-9))
        return steady + (min(ours, how.surge_replicas) if swaps else ours)

    def late(seconds: float, spread: float) -> float:
        return seconds * chance.lognormvariate(0.0, spread)

    first, spans = together(how.steps_pct[0]), []
    waits = late(NODES_S, 0.3) if needs_nodes(first) > needs_nodes(steady) else 0.0
    spans.append((waits + late(start_seconds(NEW), 0.3) + late(how.warmup_requests * 0.5, 0.3), first))
    for share in how.steps_pct:
        # The judge looks every ten seconds; one step in ten waits for evidence.
        slow = late(how.step_min_s * 0.5, 0.5) if chance.random() < 0.1 else 0.0
        spans.append((how.step_min_s + chance.uniform(0, 10) + slow, together(share)))
    spans.append((how.bake_s + chance.uniform(0, 10), together(100.0)))
    kept = min(steady, how.surge_replicas) if swaps else steady
    # Retired by the next look of a controller; machines go when the autoscaler has seen them idle.
    spans.append((keep_s + chance.uniform(0, 60) + chance.uniform(30, 120), steady + kept))
    return spans


def estimated(drawn: Case) -> tuple[float, float]:
    """Return what the plan says: a month, and once."""
    made = make_plan(drawn.world, changes_of(drawn.world), [], "2026-11-30T00:00:00.000Z")
    cost = made.review.cost
    return cost["steady_usd_per_month"], sum(each["surge_usd"] + each["warm_usd"] for each in cost["rollouts"])


def errors(runs: int = RUNS, seed: int = SEED) -> tuple[float, float]:
    """Return the median relative errors of the whole bill and of what a rollout adds, where it adds anything."""
    chance, whole, once = random.Random(seed), [], []
    for _ in range(runs):
        drawn = case(chance)
        (alone, added), (month, more) = billed(drawn, chance), estimated(drawn)
        whole.append(abs(month + more - alone - added) / (alone + added))
        if added > 0.01:
            once.append(abs(more - added) / added)
    return statistics.median(whole), statistics.median(once)


def share_of_plan_time(endpoints: int = 60, repeats: int = 7) -> float:
    """Return what the cost takes of the time in which a plan of many endpoints is made, the median of some tries."""
    drawn = case(random.Random(1))
    declared = drawn.spec.endpoints["chat"]
    names = [f"chat{n}" for n in range(endpoints)]
    spec = drawn.spec.model_copy(update={"endpoints": dict.fromkeys(names, declared)})
    each = drawn.desired.endpoints[0]
    many = tuple(
        replace(each, address=Address("test", REGION, name), release=replace(NEW, endpoint=name))
        for name in sorted(names)
    )
    live = {each.address: _serves(each.address.endpoint) for each in many}
    world = World(spec, DesiredState("test", many), ObservedState(live), {}, prices=packaged())
    changes = changes_of(world)
    needs = pool_needs(spec, world.desired, changes)
    shares = []
    for _ in range(repeats):
        began = perf_counter()
        make_plan(world, changes_of(world), [], "2026-11-30T00:00:00.000Z")
        planned = perf_counter()
        cost_of(spec, needs, world.prices, world.desired, changes)
        shares.append((perf_counter() - planned) / (planned - began))
    return statistics.median(shares)


def _serves(name: str) -> ObservedEndpoint:
    return endpoint({"a": (replace(OLD, endpoint=name), 100.0), "b": (None, 0.0)}, region=REGION, name=name)


def main() -> int:
    """Print the figures, and return 1 when one is missed."""
    whole, once = errors()
    share = share_of_plan_time()
    print(f"{RUNS} simulated bills, seed {SEED}: median error of a month {100 * whole:.2f} %")
    print(f"median error of what a rollout adds: {100 * once:.2f} %")
    print(f"the cost takes {100 * share:.1f} % of the time in which a plan is made")
    return int(whole > ERROR_MAX or once > ERROR_MAX or share > SHARE_MAX)


if __name__ == "__main__":
    sys.exit(main())
