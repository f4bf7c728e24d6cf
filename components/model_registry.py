"""MLflow: the tracking server on the home region's cluster, in front of its database and its artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ContainerArgsDict, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.children import children_of, waiting
from components.namespaces import close_ingress, from_namespaces, make_namespace
from components.objects import container_security, meta, pod_security
from components.secret_store import Wanted, external_secret
from components.tags import Owned
from environments.names import (
    MLFLOW_NAME,
    MLFLOW_PORT,
    MONITORING_NAMESPACE,
    PROXY_NAMESPACE,
    SYSTEM_NAMESPACE,
)

NAMESPACE = MLFLOW_NAME
STORE = "mlflow-store"


@dataclass(frozen=True)
class ModelRegistryArgs:
    """The image, where models go, and the secret in AWS that holds the database's address.

    `hosts` are names beside the Service's under which it is called; a `password_version` of its own restarts it.
    """

    image: str
    replicas: int
    bucket: pulumi.Input[str]
    store_secret: str
    password_version: int
    hosts: Sequence[str]
    owned: Owned


class ModelRegistry(pulumi.ComponentResource):
    """An MLflow server that stores runs in PostgreSQL and artifacts in S3, and proxies the artifacts.

    Costs two small pods. Protects by: clients that never hold bucket credentials, a role for one bucket that its pods
    have before they start, answers for its own names alone, and a network policy that lets in controllers, gates,
    monitoring and the sign-on gateway. `address` is for pods of the same cluster.
    """

    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:ModelRegistry", name, None, opts)
        self._name, self._args = name, args
        self._own = children_of(self, opts)
        self._labels = {"app.kubernetes.io/name": MLFLOW_NAME}
        self._namespace = make_namespace(name, NAMESPACE, args.owned, opts=self._own).metadata.name
        self._account()
        self._server()
        self._network()
        self.address = f"http://{MLFLOW_NAME}.{NAMESPACE}.svc:{MLFLOW_PORT}"
        self.register_outputs({"address": self.address})

    def _account(self) -> None:
        args = self._args
        ServiceAccount(
            self._name,
            metadata=meta(MLFLOW_NAME, args.owned, namespace=self._namespace),
            automount_service_account_token=False,
            opts=self._own,
        )
        self._store = external_secret(
            f"{self._name}-store",
            Wanted(STORE, {"url": args.store_secret}),
            args.owned,
            namespace=self._namespace,
            opts=self._own,
        )

    def _server(self) -> None:
        args, metadata = self._args, meta(MLFLOW_NAME, self._args.owned, namespace=self._namespace, labels=self._labels)
        Deployment(
            self._name,
            metadata=metadata,
            spec={
                "replicas": args.replicas,
                "selector": {"match_labels": self._labels},
                "template": {
                    "metadata": {
                        "labels": args.owned.labels(self._labels),
                        # Read once, at the start: a new password needs new pods.
                        "annotations": {"sluice.dev/password-version": str(args.password_version)},
                    },
                    "spec": {
                        "service_account_name": MLFLOW_NAME,
                        "automount_service_account_token": False,
                        "security_context": pod_security(),
                        "containers": [self._container()],
                        "volumes": [{"name": "tmp", "empty_dir": {}}],
                        "topology_spread_constraints": [
                            {
                                "max_skew": 1,
                                "topology_key": "topology.kubernetes.io/zone",
                                "when_unsatisfiable": "ScheduleAnyway",
                                "label_selector": {"match_labels": self._labels},
                            }
                        ],
                    },
                },
            },
            opts=waiting(self._own, self._store),
        )

    def _container(self) -> ContainerArgsDict:
        artifacts = pulumi.Output.concat("s3://", self._args.bucket, "/mlflow")
        return {
            "name": MLFLOW_NAME,
            "image": self._args.image,
            "command": ["mlflow", "server"],
            "args": [
                *server_flags(self._args.hosts),
                pulumi.Output.concat("--artifacts-destination=", artifacts),
            ],
            "env": [
                {
                    "name": "MLFLOW_BACKEND_STORE_URI",
                    "value_from": {"secret_key_ref": {"name": STORE, "key": "url"}},
                },
                {"name": "HOME", "value": "/tmp"},
            ],
            "ports": [{"name": "http", "container_port": MLFLOW_PORT}],
            "readiness_probe": {"http_get": {"path": "/health", "port": MLFLOW_PORT}, "period_seconds": 5},
            "liveness_probe": {
                "http_get": {"path": "/health", "port": MLFLOW_PORT},
                "initial_delay_seconds": 60,
                "period_seconds": 15,
            },
            "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
            "security_context": container_security(),
            "volume_mounts": [{"name": "tmp", "mount_path": "/tmp"}],
        }

    def _network(self) -> None:
        args = self._args
        Service(
            self._name,
            metadata=meta(MLFLOW_NAME, args.owned, namespace=self._namespace),
            spec={
                "selector": self._labels,
                "ports": [{"name": "http", "port": MLFLOW_PORT, "target_port": MLFLOW_PORT}],
            },
            opts=self._own,
        )
        PodDisruptionBudget(
            self._name,
            metadata=meta(MLFLOW_NAME, args.owned, namespace=self._namespace),
            spec={"max_unavailable": 1, "selector": {"match_labels": self._labels}},
            opts=self._own,
        )
        close_ingress(f"{self._name}-closed", self._namespace, args.owned, opts=self._own)
        clients = [SYSTEM_NAMESPACE, MONITORING_NAMESPACE, PROXY_NAMESPACE]
        NetworkPolicy(
            self._name,
            metadata=meta(MLFLOW_NAME, args.owned, namespace=self._namespace),
            spec={
                "pod_selector": {"match_labels": self._labels},
                "policy_types": ["Ingress"],
                "ingress": [from_namespaces(clients, MLFLOW_PORT)],
            },
            opts=self._own,
        )


def server_flags(hosts: Sequence[str]) -> list[str]:
    """Return the server's flags apart from where artifacts go.

    Without `--allowed-hosts` the server answers 403 to every name but localhost, while its health checks pass: the
    guard against DNS rebinding of MLflow 3.5 and later. Probes ask by the pod's address, which it lets through for
    `/health` alone.
    """
    services = [f"{MLFLOW_NAME}.{NAMESPACE}{suffix}" for suffix in ("", ".svc", ".svc.cluster.local")]
    names = [f"{name}{port}" for name in (*services, *hosts) for port in ("", f":{MLFLOW_PORT}")]
    allowed = ",".join([*names, "localhost:*", "127.0.0.1:*"])
    return ["--host=0.0.0.0", f"--port={MLFLOW_PORT}", "--serve-artifacts", f"--allowed-hosts={allowed}"]
