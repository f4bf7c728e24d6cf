"""The typed environment file: what users declare, checked for shape and for references inside the file.

Pure: no I/O, no clock. `environments.load` turns YAML into these types; everything else only reads them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
)

from environments.gates import GatesSpec
from environments.infrastructure import Image, InfrastructureSpec, TeamSpec, ZoneId
from environments.kinds import Code
from environments.names import NAME, REGION
from environments.policies import BreakGlassSpec, Instant, PolicyLevel
from environments.refs import JSON_SCHEMA_PATTERN, parse_ref
from environments.signing import ApprovalsSpec, LedgerSpec
from environments.strict import Strict


def _checked_ref(text: str) -> str:
    parse_ref(text)
    return text


REF_EXAMPLES = ("mlflow:chat-llm/7", "file:environments/prompts/chat-system.txt", "s3://bucket/key@VERSION_ID")

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
RegionName = Annotated[str, StringConstraints(pattern=f"^{REGION.pattern}$")]
RefText = Annotated[
    str,
    AfterValidator(_checked_ref),
    Field(json_schema_extra={"pattern": JSON_SCHEMA_PATTERN, "examples": list(REF_EXAMPLES)}),
]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
KubernetesName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
S3Prefix = Annotated[str, StringConstraints(pattern=r"^s3://[a-z0-9][a-z0-9.\-]{1,62}(/[^@\s]*)?$")]
Percent = Annotated[float, Field(ge=0, le=100)]
Share = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[float, Field(ge=0, le=7 * 86400)]


class RegistrySpec(Strict):
    """Where models and prompts are registered. `mlflow` is the address of a tracking server."""

    mlflow: str | None = None


class NodeBounds(Strict):
    """The autoscaler's bounds for one pool, in nodes."""

    min: Annotated[int, Field(ge=0, le=1000)]
    max: Annotated[int, Field(ge=1, le=1000)]


class GpuPool(Strict):
    """One kind of GPU machine in a region. `vram_gib` is for one GPU; `on_demand_floor` counts nodes."""

    gpu: Annotated[str, StringConstraints(min_length=1)]
    instance: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)?\.[a-z0-9-]+$")]
    gpus_per_node: PositiveInt
    vram_gib: PositiveInt
    nodes: NodeBounds
    instances: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)?\.[a-z0-9-]+$")]] = []
    zones: list[ZoneId] = []
    capacity: Literal["on_demand", "spot", "reserved", "capacity_block"] = "on_demand"
    on_demand_floor: Annotated[int, Field(ge=0)] = 0
    capacity_reservation: str | None = None
    efa: bool = False


class LocalRegion(Strict):
    """Server processes on this machine behind an Envoy that listens on `gateway_port` of loopback.

    `serve_env` names the variables that servers get of the caller's environment besides those that every server needs.
    """

    platform: Annotated[Literal["local"], Code("reconciler.platforms.local.kind:KIND")]
    gateway_port: Annotated[int, Field(ge=1024, le=65535)]
    serve_command: Annotated[list[str], Field(min_length=1)]
    serve_env: list[VariableName] = []
    prometheus: str | None = None
    allow_slot_header: bool = False
    gpu_pools: dict[Name, GpuPool] = {}


class GatewayRefSpec(Strict):
    """A Gateway of the Gateway API, where it is not the one that the stacks make."""

    name: KubernetesName
    namespace: KubernetesName


class KubernetesRegion(Strict):
    """A cluster reached through a kubeconfig `context`, or through the pod's own account where none is named.

    `model_bucket` holds copies of models by digest, `model_images` the same content as an OCI image by reference.
    `flags` is the kind of object that holds the flags of prompts in each team's namespace.
    """

    platform: Annotated[Literal["kubernetes"], Code("reconciler.platforms.kubernetes.kind:KIND")]
    context: Annotated[str, StringConstraints(min_length=1)] | None = None
    prometheus: str | None = None
    gateway: GatewayRefSpec | None = None
    model_bucket: S3Prefix | None = None
    model_images: dict[RefText, Image] = {}
    flags: Literal["config_map", "feature_flag"] = "config_map"
    allow_slot_header: bool = False
    gpu_pools: dict[Name, GpuPool] = {}


class SageMakerRegion(Strict):
    """SageMaker endpoints in an AWS region; a pool's `instance` gives the instance type without `ml.`."""

    platform: Literal["sagemaker"]
    profile: str | None = None
    prometheus: str | None = None
    gpu_pools: dict[Name, GpuPool] = {}


RegionSpec = Annotated[LocalRegion | KubernetesRegion | SageMakerRegion, Field(discriminator="platform")]


class Replicas(Strict):
    """How many copies of a release a slot runs."""

    min: Annotated[int, Field(ge=0, le=1000)] = 1
    max: Annotated[int, Field(ge=1, le=1000)] = 1


class SloSpec(Strict):
    """What the endpoint promises: latencies in milliseconds at the 95th percentile, errors as a share of requests."""

    ttft_p95_ms: PositiveFloat | None = None
    itl_p95_ms: PositiveFloat | None = None
    error_rate: Share | None = None


class IndexSpec(Strict):
    """A retrieval index and how old it may be."""

    ref: RefText
    built_at: Instant
    max_age_h: PositiveFloat


class GuardrailsSpec(Strict):
    """The guardrail configuration that goes with a release."""

    ref: RefText


class ReleaseSpec(Strict):
    """What runs: immutable, content-hashed. Changing any of it is a new release."""

    model: RefText
    engine: dict[str, Any] = {}
    prompts: dict[Name, RefText] = {}
    adapters: dict[Name, RefText] = {}
    index: IndexSpec | None = None
    guardrails: GuardrailsSpec | None = None


class ProtectSpec(Strict):
    """A regression that must be ruled out before promotion, and that rolls back when found."""

    metric: Literal["error_rate", "ttft", "itl"]
    ratio: Annotated[float, Field(gt=1, le=100)]
    share: Share | None = None


DEFAULT_PROTECT = (
    ProtectSpec(metric="error_rate", ratio=2.0),
    ProtectSpec(metric="ttft", ratio=1.2),
    ProtectSpec(metric="ttft", share=0.10, ratio=2.0),
    ProtectSpec(metric="itl", ratio=1.2),
)


class JudgeSpec(Strict):
    """How sure the canary judge must be. `noise` is a log standard deviation, or `learned` from an A/A period."""

    alpha: Share = 0.01
    beta: Share = 0.02
    noise: Annotated[float, Field(ge=0, le=0.5)] | Literal["learned"] = 0.03
    warmup_s: Seconds = 60
    tick_s: Annotated[float, Field(ge=0.2, le=300)] = 10
    protect: list[ProtectSpec] = list(DEFAULT_PROTECT)


TrafficQuery = Literal["cost_usd", "input_tokens", "output_tokens", "rejected_rate"]
"""What a limit with `source: traffic` may ask: the challenger's mean a request, and the share that it rejects."""


MetricSourceName = Literal["prometheus", "http", "traffic"]
"""Where a limit is read. `reconciler.metrics.NAME` serves each but `traffic`, which is counted anyway."""


class LimitSpec(Strict):
    """A fixed threshold for what has no concurrent baseline. One of `min` and `max`, or both.

    `query` is the source's own language; for `traffic` it is a `TrafficQuery`, and `samples_min` counts requests.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    min: float | None = None
    max: float | None = None
    source: MetricSourceName
    query: Annotated[str, StringConstraints(min_length=1)]
    samples_min: PositiveInt = 1


class RolloutSpec(Strict):
    """How a challenger becomes champion. Percentages are the challenger's share of traffic."""

    strategy: Literal["canary", "blue_green", "shadow", "ab"] = "canary"
    steps_pct: Annotated[list[Annotated[float, Field(gt=0, lt=100)]], Field(min_length=1)] = [1, 10, 50]
    step_min_s: Seconds = 60
    step_max_s: Annotated[float, Field(gt=0, le=7 * 86400)] = 1800
    on_inconclusive: Literal["pause", "roll_back", "promote"] = "pause"
    start_timeout_s: Annotated[float, Field(gt=0, le=86400)] = 900
    warmup_requests: Annotated[int, Field(ge=0, le=10000)] = 20
    bake_s: Seconds = 900
    keep_warm_s: Seconds = 3600
    surge: Literal["follow", "swap"] = "follow"
    surge_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    judge: JudgeSpec = JudgeSpec()
    limits: list[LimitSpec] = []
    gates: GatesSpec = GatesSpec()


class TokenPricesSpec(Strict):
    """What tokens cost, in USD for a million of them, so that limits can speak of money."""

    input_usd_per_million: Annotated[float, Field(ge=0, le=1e6)]
    output_usd_per_million: Annotated[float, Field(ge=0, le=1e6)]


class TrafficSpec(Strict):
    """What an endpoint gets, on average: lengths of requests and answers in tokens, and requests a second.

    Without a rate, what the load gate measured is taken.
    """

    requests_per_s: PositiveFloat | None = None
    input_tokens: Annotated[float, Field(gt=0, le=1e7)]
    output_tokens: Annotated[float, Field(gt=0, le=1e7)]


class EndpointSpec(Strict):
    """One model endpoint: the team that owns it, where it fits, what it promises, what runs and how that changes."""

    team: Name
    runtime: Literal["vllm", "triton"]
    pool: Name | None = None
    regions: Annotated[list[RegionName], Field(min_length=1)] | None = None
    replicas: Replicas = Replicas()
    gpus_per_replica: Annotated[int, Field(ge=0, le=64)] = 1
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    backend: Literal["service", "inference_pool"] = "service"
    weights_from: Literal["image_volume", "stream", "pvc"] | None = None
    slo: SloSpec = SloSpec()
    token_prices: TokenPricesSpec | None = None
    traffic: TrafficSpec | None = None
    release: ReleaseSpec
    rollout: RolloutSpec = RolloutSpec()


class EnvironmentSpec(Strict):
    """One environment file."""

    environment: Name
    owner: Annotated[str, StringConstraints(min_length=1)]
    store: Annotated[str, StringConstraints(min_length=1)]
    registry: RegistrySpec = RegistrySpec()
    regions: Annotated[dict[RegionName, RegionSpec], Field(min_length=1)]
    waves: list[Annotated[list[RegionName], Field(min_length=1)]] | None = None
    endpoints: Annotated[dict[Name, EndpointSpec], Field(min_length=1)]
    policies: dict[str, PolicyLevel] = {}
    approvals: ApprovalsSpec | None = None
    ledger: LedgerSpec | None = None
    break_glass: BreakGlassSpec | None = None
    teams: dict[Name, TeamSpec] = {}
    infrastructure: InfrastructureSpec | None = None

    def wave_list(self) -> tuple[tuple[str, ...], ...]:
        """Return the waves in order; without `waves`, one for each region in the order of the file."""
        if self.waves is None:
            return tuple((region,) for region in self.regions)
        return tuple(tuple(wave) for wave in self.waves)

    def regions_of(self, endpoint: str) -> tuple[str, ...]:
        """Return the regions that an endpoint runs in, in the order of the file."""
        return tuple(self.endpoints[endpoint].regions or self.regions)
