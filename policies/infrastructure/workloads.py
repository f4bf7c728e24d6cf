"""Policies over pods: limits, privileges, images, replicas, disruption budgets, zones. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environments.names import GPU_RESOURCE, SLOT_LABEL
from environments.spec import EnvironmentSpec
from environments.upstreams import cached
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, items, labels, namespace, number, off, texts

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
CRON_JOB = "kubernetes:batch/v1:CronJob"
POD = "kubernetes:core/v1:Pod"
SERVICE = "kubernetes:core/v1:Service"
RELEASE = "kubernetes:helm.sh/v3:Release"
PROXY = "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy"
BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
WORKLOADS = frozenset(
    {
        DEPLOYMENT,
        DAEMON_SET,
        CRON_JOB,
        POD,
        "kubernetes:apps/v1:StatefulSet",
        "kubernetes:apps/v1:ReplicaSet",
        "kubernetes:batch/v1:Job",
    }
)
MODEL_SERVER = re.compile(r"vllm|triton", re.I)
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
OWN_REGISTRY = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
ZONE = "topology.kubernetes.io/zone"


def pod_spec(resource: Resource) -> Any:
    """Return the pod that a workload runs."""
    match resource.type:
        case "kubernetes:core/v1:Pod":
            return at(resource.props, "spec")
        case "kubernetes:batch/v1:CronJob":
            return at(resource.props, "spec.jobTemplate.spec.template.spec")
        case _:
            return at(resource.props, "spec.template.spec")


def containers(resource: Resource) -> list[Any]:
    """Return the containers of a workload, init containers included."""
    pod = pod_spec(resource)
    return [*items(at(pod, "initContainers")), *items(at(pod, "containers"))]


def _name(container: Any) -> str:
    return f"container {at(container, 'name')}"


def _image(container: Any) -> str:
    image = at(container, "image")
    return image if isinstance(image, str) else ""


def model_server_limits(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find vLLM and Triton containers that may take a node's memory or share its GPUs."""
    for container in items(at(pod_spec(resource), "containers")):
        if MODEL_SERVER.search(_image(container)):
            limits = at(container, "resources.limits")
            known = limits if isinstance(limits, Mapping) else {}
            for limit in ("memory", GPU_RESOURCE):
                if limits is not UNKNOWN and absent(known.get(limit)):
                    yield f"{_name(container)} serves a model without a limit for {limit}"


def memory_limits(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find containers that may take a node down, or that the scheduler cannot place."""
    for container in items(at(pod_spec(resource), "containers")):
        for path in ("resources.limits.memory", "resources.requests.cpu", "resources.requests.memory"):
            if absent(at(container, path)):
                yield f"{_name(container)} has no {path.removeprefix('resources.')}"


def privileged(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find containers that are, or can become, root on their node."""
    for container in containers(resource):
        security = at(container, "securityContext")
        if at(security, "privileged") is True:
            yield f"{_name(container)} is privileged"
        elif at(security, "allowPrivilegeEscalation") in (None, True):
            yield f"{_name(container)} may gain privileges: allowPrivilegeEscalation is not false"


def root(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find containers that run as root."""
    pod = at(pod_spec(resource), "securityContext")
    for container in containers(resource):
        own = at(container, "securityContext")
        forbids = at(own, "runAsNonRoot") if at(own, "runAsNonRoot") is not None else at(pod, "runAsNonRoot")
        user = at(own, "runAsUser") if at(own, "runAsUser") is not None else at(pod, "runAsUser")
        if user == 0 or off(forbids):
            yield f"{_name(container)} may run as root: runAsNonRoot is not true"


def host_access(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find pods that share the node's network, processes or files; node agents may mount files."""
    pod = pod_spec(resource)
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if at(pod, key) is True:
            yield f"the pod has {key}"
    for volume in items(at(pod, "volumes")):
        if at(volume, "hostPath") is not None and resource.type != DAEMON_SET:
            yield f"volume {at(volume, 'name')} is a folder of the node"


def pinned_images(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find images that may be another one tomorrow."""
    for container in containers(resource):
        if _image(container) and not DIGEST.search(_image(container)):
            yield f"{_name(container)} runs {_image(container)}, which names no digest"


def known_registries(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find images from registries that neither belong to the account nor are named in the environment file."""
    for container in containers(resource):
        host = registry_of(_image(container))
        if host and not OWN_REGISTRY.fullmatch(host) and host not in declared_registries(context.spec):
            yield f"{_name(container)} comes from {host}, which the environment file does not name"


def registry_of(image: str) -> str:
    """Return the host of an image's registry; `docker.io` when none is written, empty for no image."""
    first, slash, _ = image.partition("/")
    if not image:
        return ""
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def declared_registries(spec: EnvironmentSpec) -> frozenset[str]:
    """Return the registries of the images that the environment file pins."""
    images = spec.infrastructure.images.model_dump(exclude={"vllm_version"}) if spec.infrastructure else {}
    return frozenset(registry_of(image) for image in images.values() if isinstance(image, str))


def past_the_cache(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find pods, charts and proxies that pull from a maker's registry although ECR copies its images."""
    block = context.spec.infrastructure
    cache = block.image_cache if block else None
    hosts = {upstream.host for upstream in cached(cache.model_dump())} if cache else set()
    for what, host in _pulled_from(resource):
        if host in hosts:
            yield f"{what} comes from {host}, past the cache that infrastructure.image_cache asks for"


def _pulled_from(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield what a resource has pulled, and from which registry; a chart's values name hosts, or images of hosts."""
    match resource.type:
        case "kubernetes:helm.sh/v3:Release":
            for path, text in texts(resource.props.get("values")):
                yield f"the value {path}", text.partition("/")[0]
        case "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy":
            container = at(resource.props, "spec.provider.kubernetes.envoyDeployment.container")
            named = [found for key in ("image", "imageRepository") if (found := at(container, key)) is not None]
            if UNKNOWN not in named:
                yield "the proxies' image", registry_of(str(named[0])) if named else "docker.io"
        case _:
            yield from ((_name(container), registry_of(_image(container))) for container in containers(resource))


def single_replica(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find Deployments that stop with one node."""
    replicas = number(at(resource.props, "spec.replicas"), 1)
    if replicas is not None and replicas < 2:
        yield f"spec.replicas is {replicas:g}: one node's failure stops it"


def one_zone(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find Deployments whose replicas may all land in one zone."""
    pod = pod_spec(resource)
    spread, anti = at(pod, "topologySpreadConstraints"), at(pod, "affinity.podAntiAffinity")
    keys = [at(constraint, "topologyKey") for constraint in items(spread)]
    keys += [at(term, "topologyKey") for term in items(at(anti, "requiredDuringSchedulingIgnoredDuringExecution"))]
    preferred = items(at(anti, "preferredDuringSchedulingIgnoredDuringExecution"))
    keys += [at(term, "podAffinityTerm.topologyKey") for term in preferred]
    if UNKNOWN not in (pod, spread, anti) and ZONE not in keys and UNKNOWN not in keys:
        yield "nothing spreads the replicas over zones: add a topologySpreadConstraint"


def disruption_budgets(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find Deployments and slots that a node drain may empty."""
    budgets = [r for r in resources if r.type == BUDGET]
    for resource in resources:
        pods = _pods_of(resource)
        if pods and not any(_covers(budget, pods, namespace(resource)) for budget in budgets):
            yield resource.urn, "no PodDisruptionBudget covers these pods: draining nodes may stop them all"


def _pods_of(resource: Resource) -> Mapping[str, Any]:
    """Return the labels of the pods behind a Deployment or a slot's Service; empty for everything else."""
    if resource.type == DEPLOYMENT:
        found = at(resource.props, "spec.template.metadata.labels")
    elif resource.type == SERVICE and SLOT_LABEL in labels(resource):
        found = at(resource.props, "spec.selector")
    else:
        return {}
    return found if isinstance(found, Mapping) else {}


def _covers(budget: Resource, pods: Mapping[str, Any], place: Any) -> bool:
    selector = at(budget.props, "spec.selector.matchLabels")
    if UNKNOWN in (selector, namespace(budget), place):
        return True
    same = namespace(budget) == place
    return same and isinstance(selector, Mapping) and bool(selector) and selector.items() <= pods.items()


EVERYWHERE = levels(dev="warn", staging="deny", prod="deny")
PROD_ONLY = levels(dev="off", staging="info", prod="deny")
DEPLOYMENTS = frozenset({DEPLOYMENT})

POLICIES = (
    Policy(
        "K8S-001", "Model servers have memory and GPU limits", "without them two servers share a GPU and both run out",
        "set resources.limits.memory and nvidia.com/gpu", OnResource(WORKLOADS, model_server_limits),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "K8S-002", "Containers say what they need", "a container without a limit takes its node down with it",
        "set resources.requests and limits.memory", OnResource(WORKLOADS, memory_limits), EVERYWHERE,
    ),
    Policy(
        "K8S-003", "No privileged containers", "a way out of a privileged container is a way into the node",
        "set privileged and allowPrivilegeEscalation to false", OnResource(WORKLOADS, privileged), EVERYWHERE,
    ),
    Policy(
        "K8S-004", "No container runs as root", "root in a container is root on the node after one kernel bug",
        "set runAsNonRoot and a runAsUser", OnResource(WORKLOADS, root), EVERYWHERE,
    ),
    Policy(
        "K8S-005", "Images are pinned by digest", "a tag that moves is a release that nobody planned",
        "write IMAGE@sha256:DIGEST", OnResource(WORKLOADS, pinned_images), EVERYWHERE,
    ),
    Policy(
        "K8S-006", "Images come from a known registry", "a registry that nobody named is code that nobody reviewed",
        "push the image to ECR, or name it in infrastructure.images", OnResource(WORKLOADS, known_registries),
        EVERYWHERE,
    ),
    Policy(
        "K8S-007", "Pods stay off the host", "a pod in the host's network sees every other pod's traffic",
        "drop hostNetwork, hostPID, hostIPC and hostPath", OnResource(WORKLOADS, host_access), EVERYWHERE,
    ),
    Policy(
        "K8S-008", "At least two replicas", "nodes are drained every week",
        "set spec.replicas to 2 or more", OnResource(DEPLOYMENTS, single_replica), PROD_ONLY,
    ),
    Policy(
        "K8S-009", "Pods have a disruption budget", "an upgrade of the nodes would stop all replicas at once",
        "add a PodDisruptionBudget", OnStack(disruption_budgets), levels(dev="off", staging="warn", prod="deny"),
    ),
    Policy(
        "K8S-010", "Replicas stand in several zones", "a zone's outage should take a third, not everything",
        "add a topologySpreadConstraint over zones", OnResource(DEPLOYMENTS, one_zone), PROD_ONLY,
    ),
    Policy(
        "K8S-013", "Images come through the cache", "a maker's registry that is away keeps new nodes from starting",
        "name the copy, ACCOUNT.dkr.ecr.REGION.amazonaws.com/cache-ENVIRONMENT/REGISTRY/IMAGE",
        OnResource(WORKLOADS | {RELEASE, PROXY}, past_the_cache), EVERYWHERE,
    ),
)  # fmt: skip
