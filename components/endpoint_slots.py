"""What stands around an endpoint's slots in one cluster: everything but the Deployments, which are the reconciler's.

Imports `environments.names`. `stacks/serving` makes one for each endpoint of each cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.iam import assumed_by_pods, statements
from components.namespaces import from_namespaces
from components.objects import custom, meta
from components.tags import Owned
from environments.infrastructure import WorkingHoursSpec
from environments.names import (
    ENDPOINT_LABEL,
    MONITORING_NAMESPACE,
    PROXY_NAMESPACE,
    RELEASE_LABEL,
    SLOT_LABEL,
    SLOT_PORT,
    SLOT_PORT_NAME,
    SLOTS,
    SYSTEM_NAMESPACE,
    TRITON_METRICS_PORT,
    service_account,
    slot_labels,
    slot_object,
)
from environments.spec import EndpointSpec

WAITING = {"vllm": "vllm:num_requests_waiting", "triton": "nv_inference_pending_request_count"}
METRICS_PORT = {"vllm": SLOT_PORT, "triton": TRITON_METRICS_PORT}
WAITING_PER_REPLICA = 4


@dataclass(frozen=True)
class EndpointSlotsArgs:
    """An endpoint as declared, its team's namespace, and what its pods may read."""

    endpoint: str
    spec: EndpointSpec
    region: str
    namespace: pulumi.Input[str]
    namespace_name: str
    prometheus: str
    hours: WorkingHoursSpec
    eks_name: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    owned: Owned


class EndpointSlots(pulumi.ComponentResource):
    """Services, disruption budgets, network policy, identity, autoscaling and scraping of an endpoint's slots.

    Costs nothing by itself: pods and their GPUs come with a release. Protects by: one slot's pods never answering
    for the other's, a drain that takes one pod at a time, traffic from gateway, controllers and Prometheus alone, and
    models that can be read but not written. `spec.replicas` of a slot's Deployment is KEDA's field.
    """

    def __init__(self, name: str, args: EndpointSlotsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:EndpointSlots", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._identity()
        self._network_policy()
        self._pod_monitor()
        for slot in SLOTS:
            self._service(slot)
            self._budget(slot)
            self._autoscaling(slot)
        self.services = [slot_object(args.endpoint, slot) for slot in SLOTS]
        self.register_outputs({"services": self.services})

    def _identity(self) -> None:
        args = self._args
        ServiceAccount(
            self._name,
            metadata=meta(service_account(args.endpoint), args.owned, namespace=args.namespace),
            automount_service_account_token=False,
            opts=self._own,
        )
        role = aws.iam.Role(
            self._name, assume_role_policy=assumed_by_pods(), tags=args.owned.tags(self._name), opts=self._own
        )
        aws.iam.RolePolicy(
            self._name,
            role=role.id,
            policy=pulumi.Output.all(args.bucket_arn, args.key_arn).apply(lambda arns: read_models(*arns)),
            opts=self._own,
        )
        aws.eks.PodIdentityAssociation(
            self._name,
            cluster_name=args.eks_name,
            namespace=args.namespace_name,
            service_account=service_account(args.endpoint),
            role_arn=role.arn,
            tags=args.owned.tags(),
            opts=self._own,
        )

    def _network_policy(self) -> None:
        args = self._args
        callers = from_namespaces([PROXY_NAMESPACE, SYSTEM_NAMESPACE], SLOT_PORT)
        scraper = from_namespaces([MONITORING_NAMESPACE], METRICS_PORT[args.spec.runtime])
        NetworkPolicy(
            self._name,
            metadata=meta(args.endpoint, args.owned, namespace=args.namespace),
            spec={
                "pod_selector": {"match_labels": {ENDPOINT_LABEL: args.endpoint}},
                "policy_types": ["Ingress"],
                "ingress": [callers, scraper],
            },
            opts=self._own,
        )

    def _service(self, slot: str) -> None:
        args, labels = self._args, slot_labels(self._args.endpoint, slot)
        Service(
            f"{self._name}-{slot}",
            metadata=meta(
                slot_object(args.endpoint, slot),
                args.owned,
                namespace=args.namespace,
                labels=labels,
                # A slot without a release has no pods, and that is no reason to wait for them.
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec={
                "type": "ClusterIP",
                "selector": labels,
                "ports": [{"name": SLOT_PORT_NAME, "port": SLOT_PORT, "target_port": SLOT_PORT}],
            },
            opts=self._own,
        )

    def _budget(self, slot: str) -> None:
        args, labels = self._args, slot_labels(self._args.endpoint, slot)
        PodDisruptionBudget(
            f"{self._name}-{slot}",
            metadata=meta(slot_object(args.endpoint, slot), args.owned, namespace=args.namespace, labels=labels),
            spec={"max_unavailable": 1, "selector": {"match_labels": labels}},
            opts=self._own,
        )

    def _autoscaling(self, slot: str) -> None:
        args, labels = self._args, slot_labels(self._args.endpoint, slot)
        custom(
            f"{self._name}-{slot}-scale",
            "keda.sh/v1alpha1",
            "ScaledObject",
            metadata=meta(slot_object(args.endpoint, slot), args.owned, namespace=args.namespace, labels=labels),
            spec=scaling(args, slot),
            opts=self._own,
        )

    def _pod_monitor(self) -> None:
        args = self._args
        custom(
            f"{self._name}-metrics",
            "monitoring.coreos.com/v1",
            "PodMonitor",
            metadata=meta(args.endpoint, args.owned, namespace=args.namespace),
            spec=scraping(args.endpoint, args.owned.environment, args.region, METRICS_PORT[args.spec.runtime]),
            opts=self._own,
        )


def scaling(args: EndpointSlotsArgs, slot: str) -> dict[str, Any]:
    """Return a ScaledObject: replicas by waiting requests, and by the clock where an endpoint scales to zero.

    Nothing waits where no pod runs, so requests alone never wake an endpoint: the clock does. When Prometheus is
    silent, replicas stay as they are.
    """
    replicas, labels = args.spec.replicas, f'namespace="{args.namespace_name}",sluice_endpoint="{args.endpoint}"'
    waiting = {
        "serverAddress": args.prometheus,
        "query": f'sum({WAITING[args.spec.runtime]}{{{labels},slot="{slot}"}})',
        "threshold": str(WAITING_PER_REPLICA),
        "ignoreNullValues": "true",
    }
    triggers: list[dict[str, Any]] = [{"type": "prometheus", "name": "waiting", "metadata": waiting}]
    if replicas.min == 0:
        hours = args.hours
        clock = {"timezone": hours.timezone, "start": f"0 {hours.start} * * 1-5", "end": f"0 {hours.end} * * 1-5"}
        triggers.append({"type": "cron", "name": "hours", "metadata": {**clock, "desiredReplicas": "1"}})
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": slot_object(args.endpoint, slot)},
        "minReplicaCount": replicas.min,
        "maxReplicaCount": replicas.max,
        "pollingInterval": 15,
        "cooldownPeriod": 900,
        "fallback": {"failureThreshold": 4, "replicas": max(1, replicas.min), "behavior": "currentReplicas"},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": BEHAVIOR}},
        "triggers": triggers,
    }


# Up at once, because a cold start is slow already; down one replica in five minutes, because it would be paid again.
BEHAVIOR: Mapping[str, Any] = {
    "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}]},
    "scaleDown": {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}]},
}


def scraping(endpoint: str, environment: str, region: str, port: int) -> dict[str, Any]:
    """Return a PodMonitor that names environment, region, endpoint, slot and release on every sample."""
    fixed = [("environment", environment), ("region", region)]
    from_pod = [("sluice_endpoint", ENDPOINT_LABEL), ("slot", SLOT_LABEL), ("release", RELEASE_LABEL)]
    relabelings: list[dict[str, Any]] = [{"targetLabel": label, "replacement": value} for label, value in fixed]
    relabelings += [{"targetLabel": to, "sourceLabels": [pod_label(label)]} for to, label in from_pod]
    endpoints = [{"portNumber": port, "path": "/metrics", "interval": "10s", "relabelings": relabelings}]
    return {"selector": {"matchLabels": {ENDPOINT_LABEL: endpoint}}, "podMetricsEndpoints": endpoints}


def pod_label(label: str) -> str:
    """Return the name under which Prometheus knows a pod's label while it relabels."""
    return "__meta_kubernetes_pod_label_" + "".join(c if c.isalnum() else "_" for c in label)


def read_models(bucket_arn: str, key_arn: str) -> str:
    """Return a policy that reads models from one bucket and writes nowhere."""
    return statements(
        (["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        (["s3:GetObject", "s3:GetObjectVersion"], [f"{bucket_arn}/*"]),
        (["kms:Decrypt"], [key_arn]),
    )
