"""What stands around an endpoint's slots in one cluster: everything but the Deployments, which are the reconciler's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.namespaces import from_addresses, from_namespaces
from components.objects import SKIP_AWAIT, custom, meta
from components.pod_role import PodRole, PodRoleArgs
from components.rights import read_models
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
RUNNING = {"vllm": "vllm:num_requests_running", "triton": "nv_inference_pending_request_count"}
WAITING_PER_REPLICA = 4
# A server that runs this share of what it can take at once is full enough for another beside it, and no fuller than
# that when one of two is taken away.
FULL_SHARE, MAX_SEQUENCES = 0.7, 256


@dataclass(frozen=True)
class EndpointSlotsArgs:
    """An endpoint as declared, its team's namespace, and what its pods may read.

    `api_cidrs` are the subnets of the control plane, from which the API server's proxy calls pods.
    """

    endpoint: str
    spec: EndpointSpec
    region: str
    namespace: pulumi.Input[str]
    namespace_name: str
    prometheus: str
    api_cidrs: Sequence[str]
    hours: WorkingHoursSpec
    eks_name: pulumi.Input[str]
    bucket_arns: Sequence[pulumi.Input[str]]
    key_arns: Sequence[pulumi.Input[str]]
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
        found = pulumi.Output.all(pulumi.Output.all(*args.bucket_arns), pulumi.Output.all(*args.key_arns))
        rights = found.apply(lambda arns: read_models(arns[0], arns[1]))
        account = service_account(args.endpoint)
        PodRole(self._name, PodRoleArgs(args.eks_name, args.namespace_name, account, rights, args.owned), self._own)

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
                # Warm-up and judging from another region come through the API server, which is no pod.
                "ingress": [callers, scraper, from_addresses(args.api_cidrs, SLOT_PORT)],
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
                annotations=SKIP_AWAIT,
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
    """Return a ScaledObject: replicas by waiting and by running requests, and by the clock where zero is allowed.

    Waiting alone would take servers away that are full and whose queue is empty. Nothing waits where no pod runs, so
    requests alone never wake an endpoint: the clock does. When Prometheus is silent, replicas stay as they are.
    """
    replicas, runtime = args.spec.replicas, args.spec.runtime
    triggers = [_trigger(args, slot, "waiting", metric=WAITING[runtime], threshold=WAITING_PER_REPLICA)]
    if runtime == "vllm":
        full = max(1, int(FULL_SHARE * sequences(args.spec)))
        triggers.append(_trigger(args, slot, "running", metric=RUNNING[runtime], threshold=full))
    if replicas.min == 0:
        triggers.append(_clock(args.hours))
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


def sequences(spec: EndpointSpec) -> int:
    """Return how many requests one server runs at once; vLLM's own default where the release says nothing."""
    declared = spec.release.engine.get("max_num_seqs")
    return declared if isinstance(declared, int) and declared > 0 else MAX_SEQUENCES


def _trigger(args: EndpointSlotsArgs, slot: str, name: str, *, metric: str, threshold: int) -> dict[str, Any]:
    labels = f'namespace="{args.namespace_name}",sluice_endpoint="{args.endpoint}",slot="{slot}"'
    metadata = {
        "serverAddress": args.prometheus,
        "query": f"sum({metric}{{{labels}}})",
        "threshold": str(threshold),
        "ignoreNullValues": "true",
    }
    return {"type": "prometheus", "name": name, "metadata": metadata}


def _clock(hours: WorkingHoursSpec) -> dict[str, Any]:
    times = {"timezone": hours.timezone, "start": f"0 {hours.start} * * 1-5", "end": f"0 {hours.end} * * 1-5"}
    return {"type": "cron", "name": "hours", "metadata": {**times, "desiredReplicas": "1"}}


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
