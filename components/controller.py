"""`sluice controller` in the home region: its pods, their configuration and store address."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, ContainerArgsDict, EnvVarArgsDict, ServiceAccount
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.namespaces import close_ingress, from_namespaces, make_namespace
from components.objects import container_security, custom, meta, pod_security
from components.secret_store import Wanted, external_secret
from components.tags import Owned
from environments.names import (
    CONTROLLER_METRICS_PORT,
    CONTROLLER_NAME,
    MONITORING_NAMESPACE,
    SYSTEM_NAMESPACE,
    store_secret,
)


@dataclass(frozen=True)
class ControllerArgs:
    """What runs, on which environment file, and how it reaches the clusters and the store.

    `kubeconfigs` are the clusters' own, by the context that the environment file names; `file` is that file's text.
    `store_secret` is the secret in AWS with the store's address; a `password_version` of its own restarts the pods.
    Their role is bound to their ServiceAccount by the foundation, long before they start.
    """

    image: str
    replicas: int
    file: str
    kubeconfigs: Mapping[str, pulumi.Input[str]]
    store_secret: str
    password_version: int
    mlflow: pulumi.Input[str]
    owned: Owned


class Controller(pulumi.ComponentResource):
    """Two controllers beside each other: each rollout has one owner, and a dead owner's is taken over.

    Costs two small pods. Protects by: a file system that cannot be written, no right to its own cluster but the
    group's, and a restart only when the environment file or the image has changed.
    """

    def __init__(self, name: str, args: ControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:Controller", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._labels = {"app.kubernetes.io/name": CONTROLLER_NAME}
        self._namespace = make_namespace(name, SYSTEM_NAMESPACE, args.owned, opts=self._own).metadata.name
        self._identity()
        self._configuration()
        self._deployment()
        self._surroundings()
        self.register_outputs({"namespace": self._namespace})

    def _identity(self) -> None:
        args = self._args
        ServiceAccount(
            self._name,
            metadata=meta(CONTROLLER_NAME, args.owned, namespace=self._namespace),
            automount_service_account_token=False,
            opts=self._own,
        )

    def _configuration(self) -> None:
        args = self._args
        contexts = pulumi.Output.all(**args.kubeconfigs)
        data: dict[str, pulumi.Input[str]] = {
            f"{args.owned.environment}.yaml": args.file,
            "kubeconfig": contexts.apply(merged_kubeconfig),
        }
        ConfigMap(
            self._name,
            metadata=meta(CONTROLLER_NAME, args.owned, namespace=self._namespace),
            data=data,
            opts=self._own,
        )
        self._store = external_secret(
            f"{self._name}-store",
            Wanted(store_secret(), {"url": args.store_secret}),
            args.owned,
            namespace=self._namespace,
            opts=self._own,
        )

    def _deployment(self) -> None:
        args = self._args
        digest = hashlib.sha256(args.file.encode()).hexdigest()[:16]
        zones: Any = {
            "max_skew": 1,
            "topology_key": "topology.kubernetes.io/zone",
            "when_unsatisfiable": "ScheduleAnyway",
            "label_selector": {"match_labels": self._labels},
        }
        Deployment(
            self._name,
            metadata=meta(CONTROLLER_NAME, args.owned, namespace=self._namespace, labels=self._labels),
            spec={
                "replicas": args.replicas,
                "selector": {"match_labels": self._labels},
                "template": {
                    "metadata": {
                        "labels": args.owned.labels(self._labels),
                        "annotations": {
                            "sluice.dev/environment-file": digest,
                            "sluice.dev/password-version": str(args.password_version),
                        },
                    },
                    "spec": {
                        "service_account_name": CONTROLLER_NAME,
                        "automount_service_account_token": False,
                        "termination_grace_period_seconds": 60,
                        "security_context": pod_security(),
                        "topology_spread_constraints": [zones],
                        "containers": [self._container()],
                        "volumes": [
                            {"name": "configuration", "config_map": {"name": CONTROLLER_NAME}},
                            {"name": "state", "empty_dir": {}},
                        ],
                    },
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._store]),
        )

    def _container(self) -> ContainerArgsDict:
        args = self._args
        file = f"{args.owned.environment}.yaml"
        environment: list[EnvVarArgsDict] = [
            {"name": "SLUICE_STORE", "value_from": {"secret_key_ref": {"name": store_secret(), "key": "url"}}},
            {"name": "SLUICE_HOME", "value": "/state"},
            {"name": "MLFLOW_TRACKING_URI", "value": args.mlflow},
            {"name": "KUBECONFIG", "value": "/etc/sluice/kubeconfig"},
            {"name": "HOME", "value": "/state"},
        ]
        return {
            "name": "controller",
            "image": args.image,
            "args": ["controller", args.owned.environment],
            "env": environment,
            "ports": [{"name": "metrics", "container_port": CONTROLLER_METRICS_PORT}],
            "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            "security_context": container_security(),
            "volume_mounts": [
                {"name": "state", "mount_path": "/state"},
                {"name": "configuration", "mount_path": "/etc/sluice"},
                # The image holds the repository; the file in force is the one that this stack was run with.
                {"name": "configuration", "mount_path": f"/sluice/environments/{file}", "sub_path": file},
            ],
        }

    def _surroundings(self) -> None:
        args = self._args
        PodDisruptionBudget(
            self._name,
            metadata=meta(CONTROLLER_NAME, args.owned, namespace=self._namespace),
            spec={"max_unavailable": 1, "selector": {"match_labels": self._labels}},
            opts=self._own,
        )
        close_ingress(
            self._name,
            self._namespace,
            args.owned,
            allowed=[from_namespaces([MONITORING_NAMESPACE], CONTROLLER_METRICS_PORT)],
            opts=self._own,
        )
        custom(
            f"{self._name}-metrics",
            "monitoring.coreos.com/v1",
            "PodMonitor",
            metadata=meta(CONTROLLER_NAME, args.owned, namespace=self._namespace),
            spec={
                "selector": {"matchLabels": self._labels},
                "podMetricsEndpoints": [scraping(args.owned.environment)],
            },
            opts=self._own,
        )


def scraping(environment: str) -> dict[str, Any]:
    """Return how Prometheus reads a controller: its samples name the environment, as those of the slots do."""
    named = [{"targetLabel": "environment", "replacement": environment}]
    return {"portNumber": CONTROLLER_METRICS_PORT, "path": "/metrics", "interval": "15s", "relabelings": named}


def merged_kubeconfig(contexts: Mapping[str, str]) -> str:
    """Return one kubeconfig, as JSON, with a context for each cluster; keys are the contexts' names."""
    found: dict[str, list[Any]] = {"clusters": [], "users": [], "contexts": []}
    for name, text in sorted(contexts.items()):
        own = json.loads(text)
        found["clusters"].append({"name": name, "cluster": own["clusters"][0]["cluster"]})
        found["users"].append({"name": name, "user": own["users"][0]["user"]})
        found["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    return json.dumps({"apiVersion": "v1", "kind": "Config", **found}, sort_keys=True)
