"""Policies over GPUs that only a plan knows enough for: memory of a release, rollouts that share a pool. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from policies.policy import Hit, OnPlan, PlanContext, Policy, levels
from reconciler.core.memory.estimate import Fit
from reconciler.core.memory.interval import GIB, Interval
from reconciler.core.plan.change import LOADS, Action
from reconciler.core.plan.memory import ReleaseMemory
from reconciler.core.plan.surge_choice import steady_by_pool, surge_gpus


def fits(context: PlanContext) -> Iterator[Hit]:
    """Find releases whose weights and one longest request do not fit the GPUs of their pool, however one counts."""
    for found in context.need.memory if context.need else ():
        if found.fit is Fit.NOT:
            yield found.address, _words(found)


def surely_fits(context: PlanContext) -> Iterator[Hit]:
    """Find releases that fit only if the engine takes little for itself."""
    for found in context.need.memory if context.need else ():
        if found.fit is Fit.MAY:
            yield found.address, _words(found)


def together(context: PlanContext) -> Iterator[Hit]:
    """Find rollouts of several endpoints that fit their pool one by one, and at once would wait for each other."""
    spec = context.spec
    surges: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for change in context.changes:
        declared = spec.endpoints.get(change.address.endpoint)
        region = spec.regions.get(change.address.region)
        if declared is None or region is None or declared.pool not in region.gpu_pools or declared.pool is None:
            continue
        if change.action is Action.ROLLOUT and change.moves_by in LOADS:
            surges[change.address.region, declared.pool][change.address.endpoint] = surge_gpus(declared)
    steady = steady_by_pool(spec) if surges else {}
    for (region_name, pool), each in sorted(surges.items()):
        bounds = spec.regions[region_name].gpu_pools[pool]
        free = bounds.nodes.max * bounds.gpus_per_node - steady.get((region_name, pool), 0)
        if len(each) > 1 and sum(each.values()) > free >= max(each.values()):
            names = ", ".join(f"{name} {gpus}" for name, gpus in sorted(each.items()))
            what = (
                f"at their peak {len(each)} rollouts need {sum(each.values())} GPUs on top ({names}); {free} are free"
            )
            yield f"{spec.environment}/{region_name}/{pool}", f"{what}, which is enough for one after the other"


def _words(found: ReleaseMemory) -> str:
    """Return the figures that decide, and what would make it fit, each with its own."""
    memory = found.memory
    if memory is None:
        held = f"vLLM logged {found.logged.concurrency:g} requests of the full length" if found.logged else ""
        return f"{found.release} on {found.gpu.name}: {held}"
    left = f"{_gib(memory.kv)} of {_gib(memory.budget)} GiB are left for the KV cache of a {found.gpu.name}"
    taken = f"after {_gib(memory.weights)} of weights and {_gib(memory.overhead)} of activations, graphs and context"
    held = f"one request of {memory.max_model_len:,} tokens needs more than the {_count(memory.tokens)} that fit"
    if found.fit is Fit.MAY:
        held = f"{_count(memory.tokens)} tokens fit; one request has {memory.max_model_len:,}"
    ways = f"; it fits with {', or '.join(found.ways)}" if found.ways else ""
    return f"{left}, {taken}: {held}{ways}"


def _gib(value: Interval) -> str:
    low, high = max(0.0, value.low / GIB), max(0.0, value.high / GIB)
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"


def _count(value: Interval) -> str:
    low, high = int(value.low), int(value.high)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


POLICIES = (
    Policy(
        "GPU-012", "Weights and KV cache fit the GPU", "the server would load for minutes and then refuse to start",
        "shorten release.engine.max_model_len, cache in fp8, quantize, or split over more GPUs; the message says which"
        " of them is enough", OnPlan(fits),
        levels(dev="deny", staging="deny", prod="deny"), "release.engine",
    ),
    Policy(
        "GPU-013", "Weights and KV cache surely fit the GPU", "a start that fails on one GPU of two stops a rollout",
        "shorten release.engine.max_model_len to what the message says, or try it in another environment first: what"
        " vLLM logs there takes the place of the estimate", OnPlan(surely_fits),
        levels(dev="info", staging="warn", prod="warn"), "release.engine",
    ),
    Policy(
        "GPU-014", "Rollouts that share a pool do not wait for each other", "each would hold GPUs that the other needs",
        "apply one with --endpoint and then the other, set rollout.surge to swap, or raise the pool's nodes.max",
        OnPlan(together),
        levels(dev="deny", staging="deny", prod="deny"), "nodes",
    ),
)  # fmt: skip
