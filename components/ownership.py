"""Who owns which field: every kind of object that the reconciler reads or writes, and what Pulumi leaves to it. Pure.

Imports nothing. Tests hold both halves of the product to the table; docs/adopt.md explains it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Owner = Literal["pulumi", "reconciler", "keda", "autoscaler"]


@dataclass(frozen=True)
class Field:
    """A part of a kind of object with its one owner. `path` is empty for whatever no other row names."""

    kind: str
    path: str
    owner: Owner


FIELDS = (
    # Kubernetes: what runs in a slot, and where traffic goes.
    Field("apps/v1/Deployment", "", "reconciler"),
    Field("apps/v1/Deployment", "spec.replicas", "keda"),
    Field("leaderworkerset.x-k8s.io/v1/LeaderWorkerSet", "", "reconciler"),
    Field("gateway.networking.k8s.io/v1/HTTPRoute", "", "reconciler"),
    Field("v1/ConfigMap", "", "reconciler"),
    Field("core.openfeature.dev/v1beta1/FeatureFlag", "", "reconciler"),
    # Kubernetes: what stands around a slot.
    Field("v1/Namespace", "", "pulumi"),
    Field("v1/Service", "", "pulumi"),
    Field("v1/ServiceAccount", "", "pulumi"),
    Field("policy/v1/PodDisruptionBudget", "", "pulumi"),
    Field("networking.k8s.io/v1/NetworkPolicy", "", "pulumi"),
    Field("keda.sh/v1alpha1/ScaledObject", "", "pulumi"),
    Field("monitoring.coreos.com/v1/PodMonitor", "", "pulumi"),
    Field("gateway.networking.k8s.io/v1/Gateway", "", "pulumi"),
    Field("gateway.networking.k8s.io/v1/GatewayClass", "", "pulumi"),
    Field("gateway.envoyproxy.io/v1alpha1/EnvoyProxy", "", "pulumi"),
    Field("gateway.envoyproxy.io/v1alpha1/ClientTrafficPolicy", "", "pulumi"),
    Field("gateway.envoyproxy.io/v1alpha1/BackendTrafficPolicy", "", "pulumi"),
    Field("gateway.envoyproxy.io/v1alpha1/SecurityPolicy", "", "pulumi"),
    Field("rbac.authorization.k8s.io/v1/Role", "", "pulumi"),
    Field("rbac.authorization.k8s.io/v1/RoleBinding", "", "pulumi"),
    # AWS.
    Field("aws:eks/nodeGroup:NodeGroup", "", "pulumi"),
    Field("aws:eks/nodeGroup:NodeGroup", "scalingConfig.desiredSize", "autoscaler"),
    Field("aws:sagemaker/model:Model", "", "reconciler"),
    Field("aws:sagemaker/endpointConfiguration:EndpointConfiguration", "", "reconciler"),
    Field("aws:sagemaker/endpoint:Endpoint", "", "reconciler"),
    Field("aws:iam/role:Role", "", "pulumi"),
    Field("aws:appautoscaling/target:Target", "", "pulumi"),
    Field("aws:cloudwatch/metricAlarm:MetricAlarm", "", "pulumi"),
)


def owner(kind: str, path: str = "") -> Owner | None:
    """Return who owns a field: the row with the longest path that holds it; None for a kind that no row names."""
    rows = [f for f in FIELDS if f.kind == kind and (path == f.path or f.path == "" or path.startswith(f"{f.path}."))]
    return max(rows, key=lambda f: len(f.path)).owner if rows else None


def kinds_of(wanted: Owner) -> frozenset[str]:
    """Return the kinds whose objects belong to someone as a whole."""
    return frozenset(f.kind for f in FIELDS if f.path == "" and f.owner == wanted)
