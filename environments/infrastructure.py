"""The part of the environment file that only the Pulumi stacks and infrastructure policies read.

Pure. Every field has a default that is safe for production; an environment without the block gets those.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints

from environments.names import NAME, REGION
from environments.policies import Version
from environments.strict import Strict
from environments.upstreams import SECRET_PREFIX

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}/\d{1,2}$")]
Image = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-]+(:[0-9]+)?(/[a-z0-9._\-]+)+@sha256:[0-9a-f]{64}$")]
InstanceType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]
DatabaseClass = Annotated[str, StringConstraints(pattern=r"^db\.[a-z0-9-]+\.[a-z0-9-]+$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")]
ZoneId = Annotated[str, StringConstraints(pattern=r"^[a-z]+\d-az\d$")]
Hour = Annotated[int, Field(ge=0, le=23)]
Share = Annotated[float, Field(gt=0, lt=1)]
Place = Annotated[str, StringConstraints(pattern=f"^{REGION.pattern}$")]
CacheSecret = Annotated[str, StringConstraints(pattern=rf"^{SECRET_PREFIX}[a-zA-Z0-9/_+=.@-]{{1,400}}$")]
Word = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
# The only periods that CloudWatch Logs keeps logs for. Source: its API's PutRetentionPolicy.
RetentionDays = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 3653]


class TeamSpec(Strict):
    """A product team: what it may spend and send, and where its alarms go."""

    budget_usd_per_month: PositiveFloat | None = None
    anomaly_usd: PositiveFloat = 100.0
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    alert_email: Email | None = None


class ImagesSpec(Strict):
    """Container images, each pinned by its digest; a tag could change under a release."""

    mlflow: Image | None = None
    controller: Image | None = None
    vllm: Image | None = None
    triton: Image | None = None
    vllm_version: Version | None = None


class ImageCacheSpec(Strict):
    """Copies of charts' images in ECR, made by the first pull of each.

    Registries that want a sign-in are copied from where its secret is named; the others always are.
    """

    docker_hub: CacheSecret | None = None
    github: CacheSecret | None = None


class SystemNodesSpec(Strict):
    """The machines without GPUs that run gateway, monitoring and controllers; `min` of them in each cluster."""

    instance: InstanceType = "m7i.xlarge"
    min: Annotated[int, Field(ge=1, le=100)] = 3
    max: Annotated[int, Field(ge=1, le=100)] = 6
    disk_gib: Annotated[int, Field(ge=20, le=16384)] = 80
    release_version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+-\d{8}$")] | None = None


class DatabaseSpec(Strict):
    """The PostgreSQL servers of MLflow and of the controllers."""

    instance: DatabaseClass = "db.m7g.large"
    storage_gib: Annotated[int, Field(ge=20, le=65536)] = 50
    multi_az: bool = True
    password_version: PositiveInt = 1


class JwtSpec(Strict):
    """Whose tokens open the gateway; `team_claim` is the claim that must name the endpoint's team."""

    issuer: Annotated[str, StringConstraints(pattern=r"^https://.+")]
    jwks_url: Annotated[str, StringConstraints(pattern=r"^https://.+")]
    audience: Annotated[str, StringConstraints(min_length=1)]
    team_claim: Annotated[str, StringConstraints(min_length=1)] = "team"


class SingleSignOnSpec(Strict):
    """Who signs people in to MLflow and Grafana (OpenID Connect); the client's secret is in Secrets Manager."""

    issuer: Annotated[str, StringConstraints(pattern=r"^https://.+")]
    client_id: Annotated[str, StringConstraints(min_length=1)]
    admin_group: Annotated[str, StringConstraints(min_length=1)] = "ml-platform"


class GatewaySpec(Strict):
    """The Envoy proxies of a cluster. `allowed_cidrs` are the clients; everyone else is refused."""

    proxies: Annotated[int, Field(ge=1, le=100)] = 3
    proxies_max: Annotated[int, Field(ge=1, le=100)] = 12
    public: bool = False
    allowed_cidrs: Annotated[list[Cidr], Field(min_length=1)] = ["10.0.0.0/8"]
    drain_s: Annotated[int, Field(ge=10, le=3600)] = 600
    idle_stream_s: Annotated[int, Field(ge=60, le=86400)] = 3600
    api_keys: bool = True
    jwt: JwtSpec | None = None
    shared_limits: bool = True


class AlarmsSpec(Strict):
    """Thresholds of alerts where an endpoint's `slo` says nothing, and for what no SLO is about."""

    error_rate: Share = 0.01
    ttft_p95_ms: PositiveFloat = 2000.0
    itl_p95_ms: PositiveFloat = 200.0
    waiting_requests: PositiveInt = 16
    kv_cache_usage: Share = 0.9
    gpu_temperature_c: PositiveInt = 85
    rollout_stuck_h: PositiveFloat = 6.0


class WorkingHoursSpec(Strict):
    """When endpoints with `replicas.min: 0` run: Monday to Friday, `start` to `end`, in `timezone`."""

    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]+(/[A-Za-z_+\-0-9]+)*$")] = "Etc/UTC"
    start: Hour = 7
    end: Hour = 20


class InfrastructureSpec(Strict):
    """Choices for networks, clusters and state; the defaults are production's."""

    cost_center: str | None = None
    vpc_cidr: Cidr = "10.0.0.0/16"
    vpc_cidrs: dict[Place, Cidr] = {}
    zones: dict[Place, Annotated[list[ZoneId], Field(min_length=2, max_length=3)]] = {}
    nat_gateways: Literal["one", "per_zone"] = "per_zone"
    private_endpoints: bool = True
    api_cidrs: list[Cidr] = []
    api_public_cidrs: list[Cidr] = []
    runner: bool = False
    kubernetes_version: Annotated[str, StringConstraints(pattern=r"^1\.\d{2}$")] = "1.35"
    kubernetes_admins: list[RoleArn] = []
    log_retention_days: RetentionDays = 365
    deletion_protection: bool = True
    backup_retention_days: Annotated[int, Field(ge=0, le=35)] = 14
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-]+\.[a-z]{2,}$")] | None = None
    hosted_zone_id: Annotated[str, StringConstraints(pattern=r"^Z[A-Z0-9]+$")] | None = None
    certificate_email: Email | None = None
    images: ImagesSpec = ImagesSpec()
    image_cache: ImageCacheSpec | None = None
    system_nodes: SystemNodesSpec = SystemNodesSpec()
    database: DatabaseSpec = DatabaseSpec()
    gateway: GatewaySpec = GatewaySpec()
    alarms: AlarmsSpec = AlarmsSpec()
    working_hours: WorkingHoursSpec = WorkingHoursSpec()
    controllers: Annotated[int, Field(ge=1, le=10)] = 2
    gpu_quota: dict[Place, Annotated[int, Field(ge=0)]] = {}
    sagemaker_autoscaling: bool = False
    usd_per_gpu_hour: dict[str, PositiveFloat] = {}
    cost_anomalies: Literal["off", "services", "tags"] = "off"
    gated_models: bool = False
    single_sign_on: SingleSignOnSpec | None = None
