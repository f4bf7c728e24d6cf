"""The names that stacks and reconciler share: addresses, clusters, namespaces, objects, clusters of a gateway.

Pure. The two halves of the product meet nowhere else, so a name is spelled here or not at all.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

SLOTS = ("a", "b")
FIELD_MANAGER = "sluice"
LABEL_PREFIX = "sluice.dev"
SLOT_HEADER = "x-sluice-slot"
RELEASE_HEADER = "x-sluice-release"
RELEASE_FLAG = "release"
SHARED_FOLDERS = ("cache", "reports")
"""Folders of the state that stand beside those of the environments."""
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_ECR = re.compile(r"^(\d{12}\.dkr\.ecr\.)[a-z0-9-]+(\.amazonaws\.com/)")
REGION = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, order=True)
class Address:
    """Where an endpoint lives: environment, region, endpoint. Its text is `prod/eu-west-1/chat`."""

    environment: str
    region: str
    endpoint: str

    @classmethod
    def everywhere(cls, environment: str, endpoint: str) -> Address:
        """Return the address of an endpoint in all of its regions at once."""
        return cls(environment, "*", endpoint)

    def __str__(self) -> str:
        return f"{self.environment}/{self.region}/{self.endpoint}"


def parse_address(text: str) -> Address:
    """Return the address that `environment/region/endpoint` spells.

    Raises:
        ValueError: not three parts.
    """
    match text.split("/"):
        case [environment, region, endpoint] if environment and region and endpoint:
            return Address(environment, region, endpoint)
    raise ValueError(f'"{text}" is not an address; expected ENVIRONMENT/REGION/ENDPOINT')


def cluster_name(environment: str, region: str) -> str:
    """Return the name of the Kubernetes cluster of one region."""
    return f"sluice-{environment}-{region}"


def namespace(environment: str, team: str) -> str:
    """Return the Kubernetes namespace of one team's endpoints."""
    return f"{team}-{environment}"


def slot_object(endpoint: str, slot: str) -> str:
    """Return the name that a slot's Deployment, Service and other objects share."""
    return f"{endpoint}-{slot}"


def route_name(endpoint: str) -> str:
    """Return the name of an endpoint's HTTPRoute, which the reconciler owns whole."""
    return endpoint


def gateway_name(environment: str) -> str:
    """Return the name of the Gateway of an environment, one in each cluster."""
    return f"sluice-{environment}"


def sagemaker_endpoint(environment: str, endpoint: str) -> str:
    """Return the name of a SageMaker endpoint; unique in an account's region."""
    return f"sluice-{environment}-{endpoint}"


# Kubernetes: what the stacks make and the reconciler's objects must match.
GATEWAY_NAMESPACE = "sluice-gateway"
PROXY_NAMESPACE = "envoy-gateway-system"
SYSTEM_NAMESPACE = "sluice-system"
MONITORING_NAMESPACE = "monitoring"
CONTROLLER_GROUP = "sluice-controllers"
CONTROLLER_NAME = "sluice-controller"
ENDPOINT_LABEL = f"{LABEL_PREFIX}/endpoint"
SLOT_LABEL = f"{LABEL_PREFIX}/slot"
RELEASE_LABEL = f"{LABEL_PREFIX}/release"
TEAM_LABEL = f"{LABEL_PREFIX}/team"
ENVIRONMENT_LABEL = f"{LABEL_PREFIX}/environment"
POOL_LABEL = f"{LABEL_PREFIX}/pool"
GPU_RESOURCE = "nvidia.com/gpu"
GPU_TAINT = "nvidia.com/gpu"
STORAGE_CLASS = "sluice-gp3"
FLAGS_LABEL = f"{LABEL_PREFIX}/flags"
"""The label of the objects that hold flag documents; its value is the environment."""
CLIENT_HEADER = "x-sluice-client"
SLOT_PORT = 8000
MODEL_CLAIM = "sluice-models"
"""The claim in a team's namespace with models for `weights_from: pvc`, each in a folder of its digest."""
SLOT_PORT_NAME = "http"
TRITON_METRICS_PORT = 8002
PUBLIC_LISTENER = "https"
PLAIN_LISTENER = "http"

# Metrics that the controller exports and the alerts read.
ROLLOUT_AGE_METRIC = "sluice_rollout_step_age_seconds"
ROLLOUT_PAUSED_METRIC = "sluice_rollout_paused"
LEDGER_METRIC = "sluice_ledger_verified"
CONTROLLER_TICK_METRIC = "sluice_controller_last_tick_timestamp_seconds"
CONTROLLER_METRICS_PORT = 9464
MLFLOW_NAME = "mlflow"
MLFLOW_PORT = 5000
PROMETHEUS_NAME = "prometheus"
PROMETHEUS_PORT = 9090


def slot_labels(endpoint: str, slot: str) -> dict[str, str]:
    """Return the labels by which Services, budgets and policies find the pods of one slot."""
    return {ENDPOINT_LABEL: endpoint, SLOT_LABEL: slot}


def service_account(endpoint: str) -> str:
    """Return the ServiceAccount of an endpoint's pods; it may read models and nothing else."""
    return endpoint


def flags_object(environment: str) -> str:
    """Return the ConfigMap or FeatureFlag that holds the flag document of a team's namespace; the reconciler's."""
    return f"sluice-flags-{environment}"


def store_secret() -> str:
    """Return the Secret in `SYSTEM_NAMESPACE` whose key `url` is the store's address."""
    return "sluice-store"


def gated_models_secret() -> str:
    """Return the Secret in a team's namespace whose key `token` opens gated models on the Hugging Face Hub."""
    return "sluice-hugging-face"


def listener_name(domain: str | None) -> str:
    """Return the Gateway's listener for clients: TLS where the environment has a domain."""
    return PUBLIC_LISTENER if domain else PLAIN_LISTENER


def sagemaker_role(environment: str, region: str, endpoint: str) -> str:
    """Return the execution role of an endpoint's variants; unique in an account, at most 64 characters."""
    return fit(f"sluice-{environment}-{region}-{endpoint}", 64)


def controller_role(environment: str) -> str:
    """Return the role that the controllers use for SageMaker and for the clusters of all regions."""
    return fit(f"sluice-{environment}-controller", 64)


def model_bucket(environment: str, region: str, account: str) -> str:
    """Return the bucket with a region's copy of the models; unique in the world through the account's number."""
    tail = f"-{region}-{account}"
    return fit(f"sluice-models-{environment}", 63 - len(tail)) + tail


def regional_bucket(bucket: str, environment: str, region: str) -> str:
    """Return a region's copy of a bucket of models; any other bucket as it is. Copies keep keys and version ids."""
    account = bucket.rpartition("-")[2]
    ours = bucket.startswith(f"sluice-models-{environment}-") and account.isdigit() and len(account) == 12
    return model_bucket(environment, region, account) if ours else bucket


def regional_image(image: str, region: str) -> str:
    """Return the copy of an image in a region's own registry; an image of another registry as it is."""
    return _ECR.sub(rf"\g<1>{region}\g<2>", image)


def flow_log_bucket(environment: str, region: str, account: str) -> str:
    """Return the bucket with the flow logs of a region's network."""
    tail = f"-{region}-{account}"
    return fit(f"sluice-flows-{environment}", 63 - len(tail)) + tail


def private_domain(environment: str) -> str:
    """Return the domain of names inside an environment's networks."""
    return f"{environment}.sluice.internal"


def prometheus_host(environment: str, region: str) -> str:
    """Return the name by which the home region reaches another region's Prometheus."""
    return f"prometheus.{region}.{private_domain(environment)}"


def secret_name(environment: str, *parts: str) -> str:
    """Return the name in AWS Secrets Manager of a secret of an environment, such as `sluice/prod/store`."""
    return "/".join((secret_prefix(environment), *parts))


def secret_prefix(environment: str) -> str:
    """Return what every secret's name of an environment begins with; External Secrets reads no others."""
    return f"sluice/{environment}"


def image_repository(environment: str, image: str) -> str:
    """Return the ECR repository of one of our images."""
    return f"sluice/{environment}/{image}"


def cache_prefix(environment: str, upstream: str) -> str:
    """Return what the names of ECR's copies of a registry's images begin with: 30 characters at most, as AWS wants.

    Not below `image_repository`'s prefix: those are copied to other regions, while each region makes its own of these.
    """
    return f"{fit(f'cache-{environment}', 29 - len(upstream))}/{upstream}"


def cache_registry(environment: str, region: str, account: str, upstream: str) -> str:
    """Return what stands in place of a registry's host when its images are pulled through a region's ECR."""
    return f"{account}.dkr.ecr.{region}.amazonaws.com/{cache_prefix(environment, upstream)}"


def fit(text: str, limit: int) -> str:
    """Return `text`, or its beginning and six hex digits of its SHA-256 where it is longer than `limit`."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 7].rstrip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
