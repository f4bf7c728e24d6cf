"""How one rollout goes: `rollout`, `slo` and `token_prices`, frozen into the rollout when it starts. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from environments.gates import GATES
from environments.spec import EndpointSpec
from reconciler.core.canonical import Json

GATE_ORDER = tuple(kind.name for kind in GATES)


@dataclass(frozen=True)
class Limit:
    """A fixed threshold for a metric without a concurrent baseline: `query` is in the source's own language."""

    name: str
    source: str
    query: str
    min: float | None = None
    max: float | None = None
    samples_min: int = 1


@dataclass(frozen=True)
class TokenPrices:
    """What tokens cost, in USD for a million of them."""

    input_usd_per_million: float
    output_usd_per_million: float


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of a rollout; times in seconds, weights in percent. Shapes are checked by the environment file.

    `judge` and each of `gates` belong to those who alone read them: `judge_block` and the gate of that name.
    `slo` maps a promise to its limit: milliseconds, or a share of requests.
    """

    strategy: str = "canary"
    steps_pct: tuple[float, ...] = (1.0, 10.0, 50.0)
    step_min_s: float = 60.0
    step_max_s: float = 1800.0
    on_inconclusive: str = "pause"
    start_timeout_s: float = 900.0
    warmup_requests: int = 20
    bake_s: float = 900.0
    judge: Json = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    gates: Mapping[str, Json] = field(default_factory=dict)
    slo: Mapping[str, float] = field(default_factory=dict)
    token_prices: TokenPrices | None = None
    runtime: str = "vllm"
    surge: str = "follow"
    surge_replicas: int = 1
    pool: str | None = None

    @property
    def ladder(self) -> tuple[float, ...]:
        """Return the weights that are judged on the way to 100; none for blue_green, which flips at once."""
        return self.steps_pct if self.strategy == "canary" else ()

    @property
    def judged(self) -> bool:
        """Return whether traffic is looked at at all; a rollback by an operator flips at once and bakes nothing."""
        return bool(self.ladder) or self.bake_s > 0

    @property
    def gate_names(self) -> tuple[str, ...]:
        """Return the configured gates in the order in which they are asked."""
        return tuple(name for name in GATE_ORDER if self.gates.get(name))

    @property
    def tick_s(self) -> float:
        """Return how often counts are read while a rollout is judged."""
        return float(self.judge.get("tick_s", 10.0))


def settings_of(endpoint: EndpointSpec) -> RolloutSettings:
    """Return the settings that an endpoint declares."""
    rollout = endpoint.rollout
    return RolloutSettings(
        strategy=rollout.strategy,
        steps_pct=tuple(rollout.steps_pct),
        step_min_s=rollout.step_min_s,
        step_max_s=rollout.step_max_s,
        on_inconclusive=rollout.on_inconclusive,
        start_timeout_s=rollout.start_timeout_s,
        warmup_requests=rollout.warmup_requests,
        bake_s=rollout.bake_s,
        judge=rollout.judge.model_dump(mode="json"),
        limits=tuple(Limit(**limit.model_dump(mode="json")) for limit in rollout.limits),
        gates=rollout.gates.model_dump(mode="json", exclude_none=True),
        slo=endpoint.slo.model_dump(mode="json", exclude_none=True),
        token_prices=TokenPrices(**endpoint.token_prices.model_dump()) if endpoint.token_prices else None,
        runtime=endpoint.runtime,
        surge=rollout.surge,
        surge_replicas=rollout.surge_replicas,
        pool=endpoint.pool,
    )


def settings_to_json(settings: RolloutSettings) -> Json:
    """Return JSON from which `settings_from_json` makes equal settings."""
    limits = [asdict(limit) for limit in settings.limits]
    return asdict(settings) | {"steps_pct": list(settings.steps_pct), "limits": limits}


def settings_from_json(data: Json) -> RolloutSettings:
    """Return the settings that `settings_to_json` wrote; earlier versions had no prices, or an empty block of them."""
    prices = data.get("token_prices")
    fixed: dict[str, Any] = {
        "steps_pct": tuple(data["steps_pct"]),
        "limits": tuple(Limit(**limit) for limit in data["limits"]),
        "token_prices": TokenPrices(**prices) if prices else None,
    }
    return RolloutSettings(**{**data, **fixed})
