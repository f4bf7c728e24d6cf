"""What controllers may do in one cluster: write slots, routes and flag documents of the teams, and read around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.rbac.v1 import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRuleArgsDict,
    Role,
    RoleBinding,
    SubjectArgsDict,
)

from components.objects import meta
from components.tags import Owned
from environments.names import CONTROLLER_GROUP, CONTROLLER_NAME, PROXY_NAMESPACE

# What the reconciler writes in a team's namespace; everything else of an endpoint is Pulumi's.
WRITES: Sequence[tuple[str, Sequence[str]]] = (
    ("apps", ("deployments",)),
    ("leaderworkerset.x-k8s.io", ("leaderworkersets",)),
    ("gateway.networking.k8s.io", ("httproutes",)),
    ("", ("configmaps",)),
    ("core.openfeature.dev", ("featureflags",)),
)
READS: Sequence[tuple[str, Sequence[str]]] = (
    ("", ("pods", "pods/log", "services", "events")),
    ("apps", ("replicasets",)),
    ("discovery.k8s.io", ("endpointslices",)),
)
# A rollout borrows an autoscaler for its time: it pauses one of KEDA's, or raises the lower bound of another.
BORROWS: Sequence[tuple[str, Sequence[str]]] = (
    ("keda.sh", ("scaledobjects",)),
    ("autoscaling", ("horizontalpodautoscalers",)),
)
# Slots are warmed and judged past the gateway, through the API server's proxy where another region's pods are meant.
PROXIES: Sequence[tuple[str, Sequence[str]]] = (("", ("services/proxy", "pods/proxy")),)
# Errors and requests of each arm are counted by the gateway's proxies, which Envoy Gateway runs beside itself.
GATEWAY_READS: Sequence[tuple[str, Sequence[str]]] = (("", ("pods",)),)
GATEWAY_PROXIES: Sequence[tuple[str, Sequence[str]]] = (("", ("pods/proxy",)),)
CLUSTER_READS: Sequence[tuple[str, Sequence[str]]] = (
    ("", ("nodes", "namespaces")),
    ("gateway.networking.k8s.io", ("gateways", "gatewayclasses")),
)
READ_VERBS, WRITE_VERBS = ("get", "list", "watch"), ("get", "list", "watch", "create", "update", "patch", "delete")
BORROW_VERBS = (*READ_VERBS, "patch")


@dataclass(frozen=True)
class ControllerRightsArgs:
    """The teams' namespaces of one cluster, by team."""

    namespaces: Mapping[str, pulumi.Input[str]]
    owned: Owned


class ControllerRights(pulumi.ComponentResource):
    """RBAC of one cluster for everyone in the group `sluice-controllers`, which EKS gives to the controllers' role.

    Costs nothing. Protects by: writes to Deployments, HTTPRoutes and flag documents in the teams' namespaces and
    nowhere else; no Secret can be read anywhere. Of the gateway's proxies only their statistics are asked.
    """

    def __init__(self, name: str, args: ControllerRightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:ControllerRights", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        group: SubjectArgsDict = {"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": CONTROLLER_GROUP}
        for team, namespace in sorted(args.namespaces.items()):
            theirs = [*rules(WRITES, WRITE_VERBS), *rules(READS, READ_VERBS), *rules(BORROWS, BORROW_VERBS)]
            theirs += rules(PROXIES, ("get", "create"))
            _role(f"{name}-{team}", namespace, theirs, group, args.owned.by(team), own)
        counters = [*rules(GATEWAY_READS, READ_VERBS), *rules(GATEWAY_PROXIES, ("get",))]
        _role(f"{name}-proxies", PROXY_NAMESPACE, counters, group, args.owned, own)
        ClusterRole(
            name,
            metadata=meta(CONTROLLER_NAME, args.owned),
            rules=rules(CLUSTER_READS, READ_VERBS),
            opts=own,
        )
        ClusterRoleBinding(
            name,
            metadata=meta(CONTROLLER_NAME, args.owned),
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": CONTROLLER_NAME},
            subjects=[group],
            opts=own,
        )
        self.register_outputs({"group": CONTROLLER_GROUP})


def _role(
    name: str,
    namespace: pulumi.Input[str],
    allowed: list[PolicyRuleArgsDict],
    group: SubjectArgsDict,
    owned: Owned,
    own: pulumi.ResourceOptions,
) -> None:
    """Make a Role of the controllers in one namespace, and give it to them."""
    Role(name, metadata=meta(CONTROLLER_NAME, owned, namespace=namespace), rules=allowed, opts=own)
    RoleBinding(
        name,
        metadata=meta(CONTROLLER_NAME, owned, namespace=namespace),
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": CONTROLLER_NAME},
        subjects=[group],
        opts=own,
    )


def rules(objects: Sequence[tuple[str, Sequence[str]]], verbs: Sequence[str]) -> list[PolicyRuleArgsDict]:
    """Return one RBAC rule for each API group."""
    return [{"api_groups": [group], "resources": list(resources), "verbs": list(verbs)} for group, resources in objects]
