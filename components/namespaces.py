"""Namespaces with their pod security level and a network that is closed until a policy opens it."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.networking.v1 import NetworkPolicy, NetworkPolicyIngressRuleArgsDict

from components.objects import meta
from components.tags import Owned

POD_SECURITY = "pod-security.kubernetes.io"


def make_namespace(
    name: str, namespace: str, owned: Owned, *, level: str = "restricted", opts: pulumi.ResourceOptions
) -> Namespace:
    """Return a namespace; `level` is the pod security standard that the API server enforces in it."""
    labels = {f"{POD_SECURITY}/enforce": level, f"{POD_SECURITY}/warn": "restricted"}
    return Namespace(name, metadata=meta(namespace, owned, labels=labels), opts=opts)


def close_ingress(
    name: str,
    namespace: pulumi.Input[str],
    owned: Owned,
    *,
    allowed: Sequence[NetworkPolicyIngressRuleArgsDict] = (),
    opts: pulumi.ResourceOptions,
) -> None:
    """Refuse all traffic into a namespace's pods but `allowed` and what another policy lets in."""
    NetworkPolicy(
        name,
        metadata=meta("closed", owned, namespace=namespace),
        spec={"pod_selector": {}, "policy_types": ["Ingress"], "ingress": list(allowed)},
        opts=opts,
    )


class TeamNamespace(pulumi.ComponentResource):
    """A product team's namespace in one cluster; `name` is known once it is there.

    Costs nothing. Protects by: a pod security level that vLLM's and Triton's own images can meet (they run as root, so
    `baseline`), warnings for what `restricted` would refuse, and no traffic into a pod but what a policy lets in.
    """

    def __init__(self, name: str, namespace: str, owned: Owned, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:TeamNamespace", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        made = make_namespace(name, namespace, owned, level="baseline", opts=own)
        self.name: pulumi.Output[str] = made.metadata.name.apply(str)
        close_ingress(name, self.name, owned, opts=own)
        self.register_outputs({"name": self.name})


def from_namespaces(namespaces: Sequence[str], *ports: int) -> NetworkPolicyIngressRuleArgsDict:
    """Return a rule that lets pods of some namespaces reach some TCP ports."""
    return {
        "from_": [{"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": n}}} for n in namespaces],
        "ports": [{"protocol": "TCP", "port": port} for port in ports],
    }


def from_addresses(cidrs: Sequence[str], *ports: int) -> NetworkPolicyIngressRuleArgsDict:
    """Return a rule that lets address ranges reach some TCP ports, for callers that are no pods."""
    return {
        "from_": [{"ip_block": {"cidr": cidr}} for cidr in cidrs],
        "ports": [{"protocol": "TCP", "port": port} for port in ports],
    }
