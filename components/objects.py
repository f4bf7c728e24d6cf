"""What every Kubernetes object of ours has in common: metadata, a locked-down pod, custom resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import PodSecurityContextArgsDict, SecurityContextArgsDict
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.tags import Owned

USER_ID = 10001
NLB = "service.beta.kubernetes.io/aws-load-balancer"
# What has no pods yet, or waits for a load balancer, is no reason to wait.
SKIP_AWAIT = {"pulumi.com/skipAwait": "true"}


def meta(
    name: pulumi.Input[str],
    owned: Owned,
    *,
    namespace: pulumi.Input[str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> ObjectMetaArgs:
    """Return metadata with the labels that everything of ours has; `namespace` is None for cluster-wide objects."""
    return ObjectMetaArgs(name=name, namespace=namespace, labels=owned.labels(labels), annotations=annotations)


def custom(
    name: str,
    api_version: str,
    kind: str,
    *,
    metadata: ObjectMetaArgs,
    spec: Mapping[str, Any],
    opts: pulumi.ResourceOptions,
) -> CustomResource:
    """Return an object of a kind that a CRD defines; the API server checks `spec`."""
    return CustomResource(name, api_version=api_version, kind=kind, metadata=metadata, spec=spec, opts=opts)


def pod_security() -> PodSecurityContextArgsDict:
    """Return a pod's security: an ordinary user, and the runtime's own list of system calls."""
    return {
        "run_as_non_root": True,
        "run_as_user": USER_ID,
        "run_as_group": USER_ID,
        "fs_group": USER_ID,
        "seccomp_profile": {"type": "RuntimeDefault"},
    }


def container_security() -> SecurityContextArgsDict:
    """Return a container's security: no privileges, none to gain, and a root file system that it cannot write."""
    return {
        "allow_privilege_escalation": False,
        "privileged": False,
        "read_only_root_filesystem": True,
        "run_as_non_root": True,
        "capabilities": {"drop": ["ALL"]},
    }


def internal_balancer(owned: Owned) -> dict[str, str]:
    """Return the annotations of a Service with a load balancer that the internet does not see, tagged as ours."""
    return {f"{NLB}-scheme": "internal", f"{NLB}-internal": "true", **balancer(owned)}


def balancer(owned: Owned) -> dict[str, str]:
    """Return the annotations of every network load balancer of ours; without the tags no budget sees it."""
    tags = ",".join(f"{key}={value}" for key, value in owned.tags().items())
    return {f"{NLB}-type": "nlb", f"{NLB}-additional-resource-tags": tags}
