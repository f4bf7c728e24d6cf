"""Policies over clusters and machines: endpoints, keys, logs, instance metadata, GPU pools. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from environments.names import GPU_TAINT, POOL_LABEL
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, items, number

CLUSTER = "aws:eks/cluster:Cluster"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
NEEDED_LOGS = ("api", "audit", "authenticator")
# Families with NVIDIA GPUs. Source: EC2 instance types, accelerated computing.
GPU_FAMILIES = ("g4dn", "g5.", "g5g", "g6.", "g6e", "gr6", "p3", "p4", "p5", "p6")


def public_endpoint(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters whose API server has an address on the internet; EKS gives it one unless told otherwise."""
    if at(resource.props, "vpcConfig.endpointPublicAccess") in (None, True):
        yield "the API server answers on the internet: vpcConfig.endpointPublicAccess is not false"


def open_endpoint(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find public API servers that let everybody knock."""
    config = at(resource.props, "vpcConfig")
    if at(config, "endpointPublicAccess") in (None, True):
        ranges = at(config, "publicAccessCidrs")
        if absent(ranges) or "0.0.0.0/0" in items(ranges):
            yield "the public API server is open to 0.0.0.0/0"


def secret_encryption(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters whose Secrets are encrypted with no key of ours."""
    config = resource.props.get("encryptionConfig")
    resources = at(config, "resources")
    if absent(config) or (resources is not UNKNOWN and config is not UNKNOWN and "secrets" not in items(resources)):
        yield "Kubernetes Secrets are not encrypted with a KMS key: encryptionConfig is missing"


def control_plane_logs(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters that do not log who did what."""
    given = resource.props.get("enabledClusterLogTypes")
    missing = [kind for kind in NEEDED_LOGS if kind not in items(given)]
    if given is not UNKNOWN and missing:
        yield f"control-plane logs are missing: {', '.join(missing)}"


def metadata_tokens(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find machines whose instance metadata can be read without a token (IMDSv1)."""
    if at(resource.props, "metadataOptions.httpTokens") not in ("required", UNKNOWN):
        yield "metadataOptions.httpTokens is not required: one forged request reads the machine's credentials"


def is_gpu_group(resource: Resource) -> bool:
    """Return whether a node group holds GPU machines, by its pool label, image or instance types."""
    if resource.type != NODE_GROUP:
        return False
    types = [t for t in items(resource.props.get("instanceTypes")) if isinstance(t, str)]
    image = resource.props.get("amiType")
    return (
        POOL_LABEL in _labels(resource)
        or (isinstance(image, str) and "NVIDIA" in image)
        or any(t.startswith(GPU_FAMILIES) for t in types)
    )


def _labels(resource: Resource) -> Mapping[str, object]:
    found = resource.props.get("labels")
    return found if isinstance(found, Mapping) else {}


def gpu_taint(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find GPU machines that any pod may land on."""
    taints = resource.props.get("taints")
    keys = [at(taint, "key") for taint in items(taints)]
    if is_gpu_group(resource) and taints is not UNKNOWN and GPU_TAINT not in keys and UNKNOWN not in keys:
        yield f"GPU machines without the taint {GPU_TAINT}: pods without GPUs will fill them"


def spot_without_floor(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find spot GPU groups without on-demand machines of the same pool beside them."""
    pools: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for resource in resources:
        if is_gpu_group(resource):
            cluster = resource.props.get("clusterName")
            pools[str(cluster), str(_labels(resource).get(POOL_LABEL, resource.name))].append(resource)
    for (_, pool), groups in pools.items():
        floor = sum(number(at(g.props, "scalingConfig.minSize"), 0) or 0 for g in groups if not _is_spot(g))
        for group in groups:
            if _is_spot(group) and floor < 1:
                yield group.urn, f"pool {pool} is all spot: a reclaim can take every machine at once"


def _is_spot(resource: Resource) -> bool:
    return resource.props.get("capacityType") == "SPOT"


def beyond_the_file(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find GPU node groups that may grow past what the environment file allows their pool."""
    name, most = _labels(resource).get(POOL_LABEL), number(at(resource.props, "scalingConfig.maxSize"), 0)
    pools = [pool for region in context.spec.regions.values() for key, pool in region.gpu_pools.items() if key == name]
    limit = max((pool.nodes.max for pool in pools), default=None)
    if is_gpu_group(resource) and most is not None and limit is not None and most > limit:
        yield f"the group may grow to {most:g} nodes; pool {name} of the environment file has at most {limit}"


EKS = frozenset({CLUSTER})
MACHINES = frozenset({LAUNCH_TEMPLATE, INSTANCE})

POLICIES = (
    Policy(
        "EKS-001", "The API server is private", "whoever reaches it may try every stolen token",
        "set endpointPublicAccess to false and endpointPrivateAccess to true", OnResource(EKS, public_endpoint),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "EKS-002", "A public API server names its clients", "a door on the internet needs a list",
        "set publicAccessCidrs", OnResource(EKS, open_endpoint), levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "EKS-003", "Kubernetes Secrets are encrypted with a KMS key", "the store's password is one of them",
        "add encryptionConfig for secrets", OnResource(EKS, secret_encryption),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "EKS-004", "The control plane logs", "who deleted the Deployment is in the audit log or nowhere",
        "enable api, audit and authenticator in enabledClusterLogTypes", OnResource(EKS, control_plane_logs),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "EC2-001", "Instance metadata needs a token", "IMDSv1 turns a forged request into the machine's credentials",
        "set metadataOptions.httpTokens to required", OnResource(MACHINES, metadata_tokens),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-003", "GPU machines are tainted", "a log shipper on a GPU node costs as much as a model",
        "add the taint nvidia.com/gpu", OnResource(frozenset({NODE_GROUP}), gpu_taint),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "GPU-004", "Spot machines have an on-demand floor", "machines of one type are often reclaimed together",
        "set on_demand_floor of the pool", OnStack(spot_without_floor), levels(dev="off", staging="warn", prod="deny"),
    ),
    Policy(
        "GPU-006", "GPU groups stay within their pool", "a group beyond the file is cost that no plan has shown",
        "change nodes.max in the environment file", OnResource(frozenset({NODE_GROUP}), beyond_the_file),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
)  # fmt: skip
