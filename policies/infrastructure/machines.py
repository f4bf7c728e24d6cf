"""Policies over Karpenter's machines: disks, metadata, bounds, zones, and warm slots left alone. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environments.aws_facts import ZONES, offered_zones
from environments.names import GPU_RESOURCE, GPU_TAINT, POOL_LABEL
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, items, number, off

NODE_CLASS = "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"
CAPACITY_TYPE, INSTANCE_TYPE = "karpenter.sh/capacity-type", "node.kubernetes.io/instance-type"
ZONE_ID = "topology.k8s.aws/zone-id"


def metadata_tokens(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find machines whose metadata a pod could read, or read without a token."""
    options = at(resource.props, "spec.metadataOptions")
    if at(options, "httpTokens") not in ("required", UNKNOWN):
        yield "spec.metadataOptions.httpTokens is not required: one forged request reads the machine's credentials"
    if number(at(options, "httpPutResponseHopLimit"), 2) not in (1, None):
        yield "httpPutResponseHopLimit is not 1: a pod can borrow its node's role"


def encrypted_disks(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find machines with disks that no key of ours encrypts."""
    disks = at(resource.props, "spec.blockDeviceMappings")
    if absent(disks):
        yield "the machine's disk is not encrypted with a key of ours: no blockDeviceMappings"
    for disk in items(disks):
        if off(at(disk, "ebs.encrypted")) or absent(at(disk, "ebs.kmsKeyID")):
            yield f"the disk {at(disk, 'deviceName')} is not encrypted with a key of ours"


def holds_gpus(resource: Resource) -> bool:
    """Return whether a pool's machines are for GPU pods alone."""
    taints = items(at(resource.props, "spec.template.spec.taints"))
    return resource.type == NODE_POOL and any(at(taint, "key") == GPU_TAINT for taint in taints)


def _required(resource: Resource, key: str) -> list[Any]:
    """Return the values that a pool asks of a label; empty when it asks nothing."""
    for requirement in items(at(resource.props, "spec.template.spec.requirements")):
        if at(requirement, "key") == key and at(requirement, "operator") == "In":
            return items(at(requirement, "values"))
    return []


def warm_slots(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find GPU pools that take a machine away while a slot is warm on it."""
    policy = at(resource.props, "spec.disruption.consolidationPolicy")
    if holds_gpus(resource) and policy not in ("WhenEmpty", UNKNOWN):
        yield "consolidationPolicy is not WhenEmpty: a warm slot, which is the way back, would be moved to save money"


def bounded(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find pools that may grow for ever, and GPU pools that may grow past what the environment file allows."""
    limits = at(resource.props, "spec.limits")
    if absent(limits):
        yield "the pool has no spec.limits: a loop in a manifest buys machines until the quota ends"
    name = at(resource.props, "spec.template.metadata.labels")
    pool = name.get(POOL_LABEL) if isinstance(name, Mapping) else None
    declared = [p for region in context.spec.regions.values() for key, p in region.gpu_pools.items() if key == pool]
    most = max((p.nodes.max * p.gpus_per_node for p in declared), default=None)
    given = limits.get(GPU_RESOURCE) if isinstance(limits, Mapping) else None
    if most is not None and isinstance(given, str) and given.isdigit() and int(given) > most:
        yield f"the pool may grow to {given} GPUs; pool {pool} of the environment file has at most {most}"


def offered(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find types that no zone of a pool offers, by the table of `environments.aws_facts`."""
    zones = [zone for zone in _required(resource, ZONE_ID) if isinstance(zone, str)]
    regions = {region for region, known in ZONES.items() if set(known) & set(zones)}
    for instance in (t for t in _required(resource, INSTANCE_TYPE) if isinstance(t, str)):
        for region in sorted(regions):
            there = offered_zones(instance, region)
            if there is not None and not set(there) & set(zones):
                yield f"{instance} is not offered in {', '.join(sorted(zones))}: its pods would wait for ever"


def spot_without_floor(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find pools of spot machines without an on-demand pool of the same name beside them."""
    pools: dict[str, list[Resource]] = defaultdict(list)
    for resource in (r for r in resources if holds_gpus(r)):
        labels = at(resource.props, "spec.template.metadata.labels")
        pools[str(labels.get(POOL_LABEL) if isinstance(labels, Mapping) else resource.name)].append(resource)
    for pool, found in pools.items():
        bought = [_required(resource, CAPACITY_TYPE) for resource in found]
        for resource, types in zip(found, bought, strict=True):
            if "spot" in types and ["on-demand"] not in bought:
                yield resource.urn, f"pool {pool} begins with spot: a reclaim can take every machine at once"


CLASSES, POOLS = frozenset({NODE_CLASS}), frozenset({NODE_POOL})

POLICIES = (
    Policy(
        "EC2-002", "Karpenter's machines keep their role to themselves", "a pod with its node's role reads every model",
        "set httpTokens to required and httpPutResponseHopLimit to 1", OnResource(CLASSES, metadata_tokens),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "ENC-003", "Karpenter's machines have encrypted disks", "weights and prompts are unpacked there",
        "set encrypted and kmsKeyID in blockDeviceMappings", OnResource(CLASSES, encrypted_disks),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-007", "Types are offered in the zones of their pool", "a type that is nowhere to be had starts no pod",
        "choose a type or zones of environments/aws_facts.py", OnResource(POOLS, offered),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-008", "Warm slots are left alone", "a rollback is a weight only while the old slot is warm",
        "set consolidationPolicy to WhenEmpty", OnResource(POOLS, warm_slots),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-009", "Pools have an end", "machines beyond the file are cost that no plan has shown",
        "set spec.limits, or change nodes.max in the environment file", OnResource(POOLS, bounded),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-010", "Spot pools have an on-demand floor", "machines of one type are often reclaimed together",
        "set on_demand_floor of the pool", OnStack(spot_without_floor), levels(dev="off", staging="warn", prod="deny"),
    ),
)  # fmt: skip
