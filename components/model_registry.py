"""MLflow: the tracking server on the home region's cluster, its database and its artifacts.

Imports `environments.names`. `stacks/platform` makes one for each environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ContainerArgsDict, Secret, Service, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

from components.database import Database, DatabaseArgs
from components.iam import assumed_by_pods, statements
from components.model_store import ModelBucket
from components.namespaces import close_ingress, from_namespaces, make_namespace
from components.objects import container_security, meta, pod_security
from components.tags import Owned
from environments.infrastructure import DatabaseSpec
from environments.names import (
    MLFLOW_NAME,
    MLFLOW_PORT,
    MONITORING_NAMESPACE,
    SYSTEM_NAMESPACE,
)

NAMESPACE = MLFLOW_NAME


@dataclass(frozen=True)
class ModelRegistryArgs:
    """The image, where models go, and where the database stands."""

    image: str
    replicas: int
    bucket: ModelBucket
    eks_name: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[str]]
    client_group_id: pulumi.Input[str]
    database: DatabaseSpec
    backup_retention_days: int
    deletion_protection: bool
    owned: Owned


class ModelRegistry(pulumi.ComponentResource):
    """An MLflow server that stores runs in PostgreSQL and artifacts in S3, and proxies the artifacts.

    Costs two small pods, a database and storage. Protects by: clients that never hold bucket credentials, a role for
    one bucket through pod identity, a network policy that lets in controllers, gates and monitoring alone, and a
    database that is encrypted, backed up and, in production, refuses to be deleted. `address` is for pods of the
    same cluster.
    """

    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:ModelRegistry", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        self._labels = {"app.kubernetes.io/name": MLFLOW_NAME}
        self.database = Database(
            name,
            DatabaseArgs(
                database="mlflow",
                spec=args.database,
                vpc_id=args.vpc_id,
                subnet_ids=args.subnet_ids,
                client_group_id=args.client_group_id,
                backup_retention_days=args.backup_retention_days,
                deletion_protection=args.deletion_protection,
                owned=args.owned,
            ),
            self._own,
        )
        self._namespace = make_namespace(name, NAMESPACE, args.owned, opts=self._own).metadata.name
        self._identity()
        self._server()
        self._network()
        self.address = f"http://{MLFLOW_NAME}.{NAMESPACE}.svc:{MLFLOW_PORT}"
        self.register_outputs({"address": self.address, "bucket": args.bucket.name})

    def _identity(self) -> None:
        args = self._args
        role = aws.iam.Role(
            self._name, assume_role_policy=assumed_by_pods(), tags=args.owned.tags(self._name), opts=self._own
        )
        grants = pulumi.Output.all(args.bucket.bucket.arn, args.bucket.key.arn)
        aws.iam.RolePolicy(
            self._name, role=role.id, policy=grants.apply(lambda arns: artifacts_policy(*arns)), opts=self._own
        )
        aws.eks.PodIdentityAssociation(
            self._name,
            cluster_name=args.eks_name,
            namespace=NAMESPACE,
            service_account=MLFLOW_NAME,
            role_arn=role.arn,
            tags=args.owned.tags(),
            opts=self._own,
        )
        ServiceAccount(
            self._name,
            metadata=meta(MLFLOW_NAME, args.owned, namespace=self._namespace),
            automount_service_account_token=False,
            opts=self._own,
        )

    def _server(self) -> None:
        args, metadata = self._args, meta(MLFLOW_NAME, self._args.owned, namespace=self._namespace, labels=self._labels)
        secret = Secret(
            self._name,
            metadata=meta("mlflow-store", args.owned, namespace=self._namespace),
            string_data={"url": self.database.url},
            opts=self._own,
        )
        Deployment(
            self._name,
            metadata=metadata,
            spec={
                "replicas": args.replicas,
                "selector": {"match_labels": self._labels},
                "template": {
                    "metadata": {"labels": args.owned.labels(self._labels)},
                    "spec": {
                        "service_account_name": MLFLOW_NAME,
                        "automount_service_account_token": False,
                        "security_context": pod_security(),
                        "containers": [self._container(secret)],
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
            opts=self._own,
        )

    def _container(self, secret: Secret) -> ContainerArgsDict:
        artifacts = pulumi.Output.concat("s3://", self._args.bucket.name, "/mlflow")
        return {
            "name": MLFLOW_NAME,
            "image": self._args.image,
            "command": ["mlflow", "server"],
            "args": [
                "--host=0.0.0.0",
                f"--port={MLFLOW_PORT}",
                "--serve-artifacts",
                pulumi.Output.concat("--artifacts-destination=", artifacts),
                "--expose-prometheus=/tmp/metrics",
            ],
            "env": [
                {
                    "name": "MLFLOW_BACKEND_STORE_URI",
                    "value_from": {"secret_key_ref": {"name": secret.metadata.name, "key": "url"}},
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
        clients = [SYSTEM_NAMESPACE, MONITORING_NAMESPACE]
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


def artifacts_policy(bucket_arn: str, key_arn: str) -> str:
    """Return MLflow's policy: it reads and writes below one prefix of one bucket."""
    return statements(
        (["s3:ListBucket", "s3:GetBucketLocation"], [bucket_arn]),
        (["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"], [f"{bucket_arn}/mlflow/*"]),
        (["kms:Decrypt", "kms:GenerateDataKey"], [key_arn]),
    )
