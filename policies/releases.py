"""Policies over what is released and where it has to fit: references, engine arguments, GPUs, cost. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from environments.prices import PriceBook
from environments.spec import EnvironmentSpec
from policies.engine import escapes
from policies.policy import Hit, OnPlan, PlanContext, Policy, levels
from reconciler.core.plan.change import LOADS, Action, MovesBy
from reconciler.core.plan.cost import pool_price
from reconciler.core.plan.surge_choice import surge_gpus

COST_INCREASE_MAX_PCT = 20.0


def index_age(context: PlanContext) -> Iterator[Hit]:
    """Find retrieval indexes that are older than they may be; silent when no time is given."""
    for address, endpoint in context.each():
        index = endpoint.release.index
        if index is None or context.now is None:
            continue
        age_h = (context.now - index.built_at).total_seconds() / 3600
        # The age itself is not told: a plan would get another digest each hour, and an approval would last as long.
        built = f"{index.built_at:%Y-%m-%dT%H:%MZ}"
        if age_h > index.max_age_h:
            yield address, f"the index was built at {built} and is older than {index.max_age_h:g} h"
        if age_h < 0:
            yield address, f"the index says that it was built at {built}, which is yet to come"


def registered(context: PlanContext) -> Iterator[Hit]:
    """Find models and adapters that come from a file of whoever applies."""
    for address, endpoint in context.each():
        found = {"model": endpoint.release.model}
        found |= {f"adapters.{name}": ref for name, ref in endpoint.release.adapters.items()}
        for path, ref in sorted(found.items()):
            if ref.startswith("file:"):
                yield address, f"release.{path} is {ref}: a file has no lineage and is on one machine only"


def pinned(context: PlanContext) -> Iterator[Hit]:
    """Find references whose content can change under them: an object without a version, a branch of a hub.

    A day (`@2026-11-20`) is a version: a folder as it was when that day was over, in a bucket that keeps versions.
    """
    for address, endpoint in context.each():
        release = endpoint.release
        found = {"model": release.model}
        found |= {f"adapters.{name}": ref for name, ref in release.adapters.items()}
        found |= {f"prompts.{name}": ref for name, ref in release.prompts.items()}
        for path, ref in sorted(found.items()):
            version = ref.rpartition("@")[2]
            if ref.startswith("s3:") and version.lower() in _MOVING:
                yield (
                    address,
                    f"release.{path} is {ref}: {version} is no version of an object, so its content may change",
                )
        revision = release.engine.get("revision")
        if revision is not None and not (isinstance(revision, str) and _COMMIT.fullmatch(revision)):
            yield address, f"engine.revision is {revision}: a branch or a tag moves, and the release's digest does not"


_MOVING = frozenset({"null", "latest", "head", "main", "master", "current", "newest"})
_COMMIT = re.compile(r"[0-9a-f]{40}")


def guarded(context: PlanContext) -> Iterator[Hit]:
    """Find releases that write text for people without guardrails."""
    for address, endpoint in context.each():
        if endpoint.runtime == "vllm" and endpoint.release.guardrails is None:
            yield address, "release.guardrails is not set: nothing looks at what goes in and comes out"


def context_length(context: PlanContext) -> Iterator[Hit]:
    """Find vLLM releases that leave the context length, and with it the memory, to the model's own maximum."""
    for address, endpoint in context.each():
        if endpoint.runtime == "vllm" and "max_model_len" not in endpoint.release.engine:
            yield (
                address,
                "engine.max_model_len is not set: the model's maximum decides how much KV cache a request takes",
            )


def sealed(context: PlanContext) -> Iterator[Hit]:
    """Find engine arguments that lead to code, files or hosts which the release's digest does not cover."""
    for address, endpoint in context.each():
        for name, why in escapes(endpoint.runtime, endpoint.release.engine):
            yield address, f"engine.{name}: {why}"


def parallelism(context: PlanContext) -> Iterator[Hit]:
    """Find releases that want more GPUs for one replica than it gets."""
    for address, endpoint in context.each():
        engine = endpoint.release.engine
        ways = [engine.get("tensor_parallel_size", 1), engine.get("pipeline_parallel_size", 1)]
        if all(isinstance(way, int) for way in ways) and endpoint.gpus_per_replica > 0:
            needed = ways[0] * ways[1]
            if needed > endpoint.gpus_per_replica:
                yield (
                    address,
                    f"the engine splits the model over {needed} GPUs; a replica has {endpoint.gpus_per_replica}",
                )


def pool_fits(context: PlanContext) -> Iterator[Hit]:
    """Find pools that cannot hold what runs and the challengers beside it."""
    spec = context.spec
    for (region, pool), (steady, surge) in sorted(_gpu_need(context).items()):
        bounds = spec.regions[region].gpu_pools[pool]
        limit = bounds.nodes.max * bounds.gpus_per_node
        if steady + surge > limit:
            what = f"needs {steady} GPUs and {surge} more while challengers run; nodes.max allows {limit}"
            yield f"{spec.environment}/{region}/{pool}", what


def _gpu_need(context: PlanContext) -> dict[tuple[str, str], tuple[int, int]]:
    """Return GPUs by (region, pool): steady at the smallest size, and on top while the changes roll out."""
    spec = context.spec
    loading = {(c.address.region, c.address.endpoint) for c in context.changes if _loads(c.action, c.moves_by)}
    need: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name, endpoint in spec.endpoints.items():
        gpus, on_top = endpoint.replicas.min * endpoint.gpus_per_replica, surge_gpus(endpoint)
        for region in spec.regions_of(name):
            if endpoint.pool in spec.regions[region].gpu_pools and endpoint.pool is not None:
                steady, surge = need[region, endpoint.pool]
                need[region, endpoint.pool] = (steady + gpus, surge + (on_top if (region, name) in loading else 0))
    return need


def _loads(action: Action, moves_by: MovesBy) -> bool:
    return action is Action.ROLLOUT and moves_by in LOADS


def spot_floor(context: PlanContext) -> Iterator[Hit]:
    """Find spot pools that a reclaim can empty."""
    for region, declared in sorted(context.spec.regions.items()):
        for name, pool in sorted(declared.gpu_pools.items()):
            if pool.capacity == "spot" and pool.on_demand_floor < 1:
                address = f"{context.spec.environment}/{region}/{name}"
                yield address, "all nodes are spot: a reclaim can take the whole pool at once"


def quota(context: PlanContext) -> Iterator[Hit]:
    """Find regions whose pools may grow past the account's GPU quota, where the file states one."""
    spec = context.spec
    block, override = spec.infrastructure, spec.policies.get("GPU-002")
    for region, declared in sorted(spec.regions.items()):
        quotas = block.gpu_quota if block else {}
        limit = quotas.get(region, override.quota_gpus if override else None)
        may = sum(pool.nodes.max * pool.gpus_per_node for pool in declared.gpu_pools.values())
        if limit is not None and may > limit:
            yield f"{spec.environment}/{region}", f"its pools may grow to {may} GPUs; the quota is {limit}"


def team_budget(context: PlanContext) -> Iterator[Hit]:
    """Find teams that spend without a budget."""
    teams = sorted({endpoint.team for endpoint in context.spec.endpoints.values()})
    for team in teams:
        declared = context.spec.teams.get(team)
        if declared is None or declared.budget_usd_per_month is None:
            yield context.spec.environment, f"team {team} has no budget_usd_per_month: nobody is told when it is spent"


def cost_increase(context: PlanContext) -> Iterator[Hit]:
    """Find plans whose new endpoints raise the hourly cost of what runs by more than the limit."""
    spec, override = context.spec, context.spec.policies.get("COST-002")
    if context.need is None or context.need.prices is None:
        return
    limit = (override.max_increase_pct if override else None) or COST_INCREASE_MAX_PCT
    created = {(c.address.region, c.address.endpoint) for c in context.changes if c.action is Action.CREATE}
    kept = added = 0.0
    for name in spec.endpoints:
        for region in spec.regions_of(name):
            usd = _usd_per_hour(spec, context.need.prices, name, region)
            kept, added = (kept, added + usd) if (region, name) in created else (kept + usd, added)
    if kept > 0 and 100 * added / kept > limit:
        grows = f"from {kept:.2f} to {kept + added:.2f} USD an hour ({100 * added / kept:.0f} %, limit {limit:g} %)"
        yield spec.environment, f"new endpoints raise the cost of GPUs {grows}"


def _usd_per_hour(spec: EnvironmentSpec, prices: PriceBook, endpoint: str, region: str) -> float:
    """Return the estimated cost of an endpoint's GPUs at its smallest size; 0 where no price is known."""
    declared = spec.endpoints[endpoint]
    pool = spec.regions[region].gpu_pools.get(declared.pool or "")
    price = pool_price(spec, prices, region, declared.pool or "").usd_per_hour(1.0) if pool else None
    if pool is None or price is None:
        return 0.0
    return declared.replicas.min * declared.gpus_per_replica * price / pool.gpus_per_node


POLICIES = (
    Policy(
        "REL-001", "The index is fresh", "a stale index answers with what was true once",
        "rebuild the index and update release.index, or raise max_age_h", OnPlan(index_age),
        levels(dev="info", staging="warn", prod="warn"), "release.index",
    ),
    Policy(
        "REL-002", "Models come from a registry", "a rollback a year from now needs the same bytes and their lineage",
        "register the model and name mlflow:NAME/VERSION, hf:… or s3://…", OnPlan(registered),
        levels(dev="off", staging="warn", prod="deny"), "release.model",
    ),
    Policy(
        "REL-003", "The context length is stated", "the default is the model's maximum, which may not fit",
        "set release.engine.max_model_len", OnPlan(context_length),
        levels(dev="info", staging="warn", prod="warn"), "release.engine",
    ),
    Policy(
        "REL-004", "A replica has the GPUs that its engine splits over", "the server would never start",
        "raise gpus_per_replica, or lower tensor_parallel_size", OnPlan(parallelism),
        levels(dev="deny", staging="deny", prod="deny"), "release.engine",
    ),
    Policy(
        "REL-005", "Engine arguments stay inside the release", "a digest that leaves out what runs proves nothing",
        "leave the argument out, or put what it names into the model's folder, which is hashed; no level lets it run:"
        " the runtime refuses it as RUN-006", OnPlan(sealed),
        levels(dev="deny", staging="deny", prod="deny"), "release.engine",
    ),
    Policy(
        "REL-006", "References are pinned", "what is not pinned is another model on the day it matters",
        "name the object's VersionId (s3api head-object shows it), or the full commit", OnPlan(pinned),
        levels(dev="warn", staging="deny", prod="deny"), "release.model",
    ),
    Policy(
        "REL-007", "Guardrails come with the release", "what they let through depends on the model that they guard",
        "add release.guardrails", OnPlan(guarded),
        levels(dev="off", staging="info", prod="info"), "release",
    ),
    Policy(
        "GPU-001", "The pool holds champion and challenger", "a rollout that waits for a GPU holds its wave for hours",
        "raise the pool's nodes.max, or use another pool", OnPlan(pool_fits),
        levels(dev="warn", staging="warn", prod="deny"), "nodes",
    ),
    Policy(
        "GPU-002", "Pools stay within the quota", "the autoscaler cannot buy what the account may not run",
        "lower nodes.max, or raise the quota and infrastructure.gpu_quota", OnPlan(quota),
        levels(dev="warn", staging="warn", prod="deny"), "gpu_pools", ("quota_gpus",),
    ),
    Policy(
        "GPU-005", "A spot pool has an on-demand floor", "spot machines of one type are often reclaimed together",
        "set on_demand_floor to what the SLO needs", OnPlan(spot_floor),
        levels(dev="off", staging="warn", prod="deny"), "capacity",
    ),
    Policy(
        "COST-001", "Every team has a budget", "nobody notices a pool that was forgotten until the bill comes",
        "add teams.TEAM.budget_usd_per_month", OnPlan(team_budget),
        levels(dev="info", staging="warn", prod="warn", other="off"),
    ),
    Policy(
        "COST-002", "A plan raises cost a little at a time", "a large step should be somebody's decision",
        "get it agreed, or raise max_increase_pct of COST-002 with a reason", OnPlan(cost_increase),
        levels(dev="info", staging="info", prod="warn", other="off"), reads=("max_increase_pct",),
    ),
)  # fmt: skip
