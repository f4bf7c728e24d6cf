"""Policies over what there is to be had: instance types by region, platforms and versions in support. Pure.

Listed in `policies.catalog`; the tables are `environments.aws_facts`.
"""

from __future__ import annotations

from collections.abc import Iterator

from environments.aws_facts import READ_ON, offered_zones, regions_with, support_ends
from environments.spec import GpuPool, KubernetesRegion
from policies.policy import Hit, NotKnown, OnPlan, PlanContext, Policy, levels

VLLM_FLOOR = "0.32.0"
"""The oldest vLLM whose handling of adapters was read and tried here. In 0.22.1 an adapter that was loaded while
requests ran answered other users' (vllm-project/vllm issue 47724)."""


def offered(context: PlanContext) -> Iterator[Hit]:
    """Find pools of types that their region, or their zones, do not offer."""
    for region, declared in sorted(context.spec.regions.items()):
        if isinstance(declared, KubernetesRegion):
            for name, pool in sorted(declared.gpu_pools.items()):
                address = f"{context.spec.environment}/{region}/{name}"
                yield from ((address, message) for message in _not_offered(region, pool))


def _not_offered(region: str, pool: GpuPool) -> Iterator[str]:
    for instance in (pool.instance, *pool.instances):
        zones = offered_zones(instance, region)
        if zones is None:
            why = f"the table of {READ_ON} has no {instance.partition('.')[0]}, or no {region}"
            yield NotKnown(f"whether {region} offers {instance}", why)
        elif not zones:
            yield f"{region} does not offer {instance}; {', '.join(regions_with(instance))} do"
        elif pool.zones and not set(zones) & set(pool.zones):
            yield f"{', '.join(pool.zones)} do not offer {instance}; {', '.join(zones)} do"


def supported(context: PlanContext) -> Iterator[Hit]:
    """Find clusters whose Kubernetes gets no more fixes; silent when no time is given."""
    clusters = any(isinstance(region, KubernetesRegion) for region in context.spec.regions.values())
    if context.now is None or context.spec.infrastructure is None or not clusters:
        return
    version = context.spec.infrastructure.kubernetes_version
    ends = support_ends(version)
    if ends is None:
        yield "", NotKnown(f"until when Kubernetes {version} is in support", f"the table of {READ_ON} does not have it")
    elif context.now.date() >= ends:
        yield "", f"standard support of Kubernetes {version} ended on {ends}"


def vllm_version(context: PlanContext) -> Iterator[Hit]:
    """Find releases with adapters on a vLLM that is older than the floor."""
    override, block = context.set_here("VER-001"), context.spec.infrastructure
    floor = (override.min_version if override else None) or VLLM_FLOOR
    for address, endpoint in context.each():
        clusters = [isinstance(context.spec.regions[r], KubernetesRegion) for r in _regions(context, address)]
        if endpoint.runtime != "vllm" or not endpoint.release.adapters or not any(clusters):
            continue
        declared = block.images.vllm_version if block else None
        if declared is None:
            why = "a digest does not tell it: say infrastructure.images.vllm_version"
            yield address, NotKnown("the version of vLLM", why)
        elif _number(declared) < _number(floor):
            yield address, f"vLLM {declared} would serve adapters; {floor} is the oldest that may"


def _regions(context: PlanContext, address: str) -> tuple[str, ...]:
    return context.spec.regions_of(address.rpartition("/")[2])


def _number(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    return tuple(parts + [0] * (4 - len(parts)))


POLICIES = (
    Policy(
        "GPU-011", "Types are offered where their pool is", "a type that is nowhere to be had starts no server",
        "choose a type or a region of environments/aws_facts.py", OnPlan(offered),
        levels(dev="warn", staging="deny", prod="deny"), "instance", unknown="info",
    ),
    Policy(
        "PLT-001", "Platforms are in support", "a hole that is known and not mended is everybody's door",
        "raise infrastructure.kubernetes_version; docs/upgrade.md has the order", OnPlan(supported),
        levels(dev="info", staging="warn", prod="deny"), unknown="warn",
    ),
    Policy(
        "VER-001", "vLLM serves adapters without mixing them up", "one customer's adapter answered another's requests",
        "use a newer image, and say its version in infrastructure.images.vllm_version", OnPlan(vllm_version),
        levels(dev="info", staging="warn", prod="deny"), "release.adapters", ("min_version",), unknown="warn",
    ),
)  # fmt: skip
