"""How one rollout goes: `rollout`, `slo` and `token_prices`, frozen into the rollout when it starts. Pure data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from environments.gates import GATES
from environments.spec import EndpointSpec
from reconciler.core.canonical import Json

GATE_ORDER = tuple(kind.name for kind in GATES)


@dataclass(frozen=True)
class RolloutSettings:
    """Settings of a rollout; times in seconds, weights in percent. Shapes are checked by the environment file."""

    strategy: str = "canary"
    steps_pct: tuple[float, ...] = (1.0, 10.0, 50.0)
    step_min_s: float = 60.0
    step_max_s: float = 1800.0
    on_inconclusive: str = "pause"
    start_timeout_s: float = 900.0
    warmup_requests: int = 20
    bake_s: float = 900.0
    judge: Json = field(default_factory=dict)
    limits: tuple[Json, ...] = ()
    gates: Json = field(default_factory=dict)
    slo: Json = field(default_factory=dict)
    token_prices: Json = field(default_factory=dict)
    runtime: str = "vllm"
    surge: str = "follow"
    surge_replicas: int = 1

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
        limits=tuple(limit.model_dump(mode="json") for limit in rollout.limits),
        gates=rollout.gates.model_dump(mode="json", exclude_none=True),
        slo=endpoint.slo.model_dump(mode="json", exclude_none=True),
        token_prices=endpoint.token_prices.model_dump(mode="json") if endpoint.token_prices else {},
        runtime=endpoint.runtime,
        surge=rollout.surge,
        surge_replicas=rollout.surge_replicas,
    )


def settings_to_json(settings: RolloutSettings) -> Json:
    """Return JSON from which `settings_from_json` makes equal settings."""
    return asdict(settings) | {"steps_pct": list(settings.steps_pct), "limits": list(settings.limits)}


def settings_from_json(data: Json) -> RolloutSettings:
    """Return the settings that `settings_to_json` wrote."""
    fixed: dict[str, Any] = {"steps_pct": tuple(data["steps_pct"]), "limits": tuple(data["limits"])}
    return RolloutSettings(**{**data, **fixed})
