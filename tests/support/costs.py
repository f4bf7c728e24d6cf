"""What an environment costs a month when nobody calls it: every resource of the stacks at its list price.

Prices are AWS's on-demand list prices in us-east-1, Linux, USD, as of the product's own snapshot of GPU prices; other
regions are 5 to 25 % dearer. Traffic, logs and storage of models come on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.declared import Declared
from components.gpu_node_group import disk_gib
from environments.prices import EC2, ELSEWHERE, SPOT_SHARE, packaged

HOURS = 730
GP3_USD_PER_GIB = 0.08
MACHINES = {"m7i.large": 0.1008, "m7i.xlarge": 0.2016, "t4g.small": 0.0168}
DATABASES = {"db.t4g.medium": 0.065, "db.m7g.large": 0.168}
STORES = {"cache.t4g.micro": 0.0128}
# Types with one price each, USD a month.
FLAT = {
    "aws:eks/cluster:Cluster": ("EKS control plane", 0.10 * HOURS),
    "aws:ec2/natGateway:NatGateway": ("NAT gateway with its address", 0.05 * HOURS),
    "aws:kms/key:Key": ("KMS key", 1.0),
    "aws:secretsmanager/secret:Secret": ("Secret", 0.40),
    "aws:route53/zone:Zone": ("Private zone", 0.50),
}
BALANCER = 0.0225 * HOURS
CLAIMED_GIB = 110  # of Prometheus and two Alertmanagers in each cluster


@dataclass(frozen=True)
class Line:
    """So many of something at so much a month."""

    what: str
    count: int
    usd: float


def lines(found: Declared, made: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Line]:
    """Return the costs of an environment at rest, the dearest first. `made` are types and inputs of its resources."""
    resources = list(made)
    items = [*_flat(resources), *_sized(resources), *_of_clusters(found, resources), *_gpus(found)]
    summed: dict[str, Line] = {}
    for item in items:
        before = summed.get(item.what, Line(item.what, 0, 0.0))
        summed[item.what] = Line(item.what, before.count + item.count, before.usd + item.usd)
    return sorted(summed.values(), key=lambda line: (-line.usd, line.what))


def _flat(resources: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Line]:
    counted = Counter(kind for kind, _ in resources)
    for kind, (what, usd) in FLAT.items():
        if counted[kind]:
            yield Line(what, counted[kind], counted[kind] * usd)


def _sized(resources: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Line]:
    for kind, inputs in resources:
        match kind.rpartition(":")[2]:
            case "VpcEndpoint" if inputs.get("vpcEndpointType") == "Interface":
                yield Line(
                    "Interface endpoint, a zone", len(inputs["subnetIds"]), len(inputs["subnetIds"]) * 0.01 * HOURS
                )
            case "Instance" if kind.startswith("aws:rds"):
                copies, size = 2 if inputs["multiAz"] else 1, inputs["instanceClass"]
                usd = copies * (DATABASES[size] * HOURS + 0.115 * inputs["allocatedStorage"])
                yield Line(f"PostgreSQL, {size}", copies, usd)
            case "Instance":
                yield Line(
                    f"Runner, {inputs['instanceType']}",
                    1,
                    MACHINES[inputs["instanceType"]] * HOURS + 30 * GP3_USD_PER_GIB,
                )
            case "ReplicationGroup":
                copies = inputs["numCacheClusters"]
                yield Line(f"Rate store, {inputs['nodeType']}", copies, copies * STORES[inputs["nodeType"]] * HOURS)
            case "NodeGroup" if inputs["scalingConfig"]["minSize"]:
                count, size = inputs["scalingConfig"]["minSize"], inputs["instanceTypes"][0]
                yield Line(f"System node, {size}", count, count * (MACHINES[size] * HOURS + 80 * GP3_USD_PER_GIB))


def _of_clusters(found: Declared, resources: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Line]:
    clusters = len(found.clusters)
    balancers = clusters + sum(
        kind.endswith(":Service") and (inputs.get("spec") or {}).get("type") == "LoadBalancer"
        for kind, inputs in resources
    )
    yield Line("Network load balancer", balancers, balancers * BALANCER)
    yield Line("Disk of metrics and alerts", clusters, clusters * CLAIMED_GIB * GP3_USD_PER_GIB)


def _gpus(found: Declared) -> Iterator[Line]:
    """Yield the GPU machines that `replicas.min` keeps: Karpenter keeps none without a pod."""
    for region, spec in found.regions.items():
        for name, pool in spec.gpu_pools.items():
            here = [e for e in found.endpoints(region).values() if e.pool == name]
            gpus = sum(e.replicas.min * e.gpus_per_replica for e in here)
            nodes = -(-gpus // pool.gpus_per_node)
            on_demand = nodes if pool.capacity != "spot" else min(nodes, pool.on_demand_floor)
            for count, how, share in ((on_demand, "on demand", 1.0), (nodes - on_demand, "spot", SPOT_SHARE)):
                if count:
                    hourly, disk = _usd_per_hour(pool.instance) * share, disk_gib(pool) * GP3_USD_PER_GIB
                    yield Line(f"GPU machine, {pool.instance}, {how}", count, count * (hourly * HOURS + disk))


def table(found: Declared, items: list[Line]) -> str:
    """Return the costs as Markdown, with their sum."""
    rows = [f"| {line.what} | {line.count:g} | {line.usd:,.0f} |" for line in items]
    total = sum(line.usd for line in items)
    head = [f"| **{found.environment}** at rest | count | USD a month |", "|---|---|---|"]
    return "\n".join([*head, *rows, f"| **together** | | **{total:,.0f}** |"])


def _usd_per_hour(instance: str) -> float:
    usd = packaged().find(EC2, ELSEWHERE, instance).usd_per_hour
    assert usd is not None, f"the snapshot has no price of {instance}"
    return usd
