"""An environment that a test declares as a dictionary, planned and applied over a world in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from environments.load import load
from environments.prices import NO_PRICES, PriceBook
from environments.refs import Ref
from policies.catalog import known_ids
from reconciler.core.model.release import Artifact, Lineage
from reconciler.core.plan.plan import Plan, Scope
from reconciler.engine.apply import Applier, Outcome
from reconciler.engine.loop import Snapshot
from reconciler.planning.planner import Planner
from reconciler.ports import Resolved
from reconciler.ports.adapters import Adapters
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld

FAST: Mapping[str, Any] = {
    "steps_pct": [10, 50],
    "step_min_s": 4,
    "step_max_s": 200,
    "bake_s": 10,
    "warmup_requests": 2,
    "start_timeout_s": 30,
    "judge": {
        "noise": 0,
        "warmup_s": 0,
        "tick_s": 2,
        "protect": [{"metric": "error_rate", "ratio": 3}, {"metric": "ttft", "ratio": 1.5}],
    },
}


@dataclass
class Contents:
    """A registry in memory: what a reference holds is its own text, unless `holds` says otherwise."""

    holds: dict[str, str] = field(default_factory=dict)
    marked: list[str] = field(default_factory=list)

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return a digest of what the reference holds."""
        content = self.holds.get(str(ref), str(ref))
        text = f"text of {content}" if kind == "prompt" else None
        return Resolved(Artifact(str(ref), f"sha256:{content}"), Lineage(), text)

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Remember what was marked."""
        self.marked.append(str(ref))
        return None


def never_asked(endpoint: str, release: str, regions: Sequence[str]) -> None:
    """Fail where a rollback that should be a weight is a cold load."""
    raise AssertionError(f"{endpoint}: {release} does not run in {regions}")


@dataclass
class Declared:
    """An environment file over a `LoopWorld`: change `endpoints`, plan and apply. `forgotten` regions left the file.

    `blocks` are top-level keys beside those that every file here has, or instead of them.
    """

    bench: LoopWorld
    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    waves: list[list[str]] | None = None
    forgotten: tuple[str, ...] = ()
    blocks: dict[str, Any] = field(default_factory=dict)
    prices: PriceBook = NO_PRICES
    registry: Contents = field(default_factory=Contents)
    messages: list[str] = field(default_factory=list)
    watch: Callable[[Snapshot], None] = lambda snapshot: None

    def serve(self, name: str, model: str, **more: Any) -> None:
        """Declare that an endpoint serves a model."""
        rollout = {**FAST, **more.pop("rollout", {})}
        self.endpoints[name] = {
            "team": "team",
            "runtime": "vllm",
            "gpus_per_replica": 0,
            "slo": {"error_rate": 0.05},
            "release": {"model": f"file:models/{model}"},
            "rollout": rollout,
            **more,
        }

    def planner(self) -> Planner:
        """Return the planner of the file as it is declared now."""
        regions = {
            name: {"platform": "local", "gateway_port": 18000 + n, "serve_command": ["vllm"]}
            for n, name in enumerate(self.bench.regions)
            if name not in self.forgotten
        }
        spec = {
            "environment": ENVIRONMENT,
            "owner": "tests",
            "store": "sqlite:///store.db",
            "registry": {},
            "regions": regions,
            "endpoints": self.endpoints,
        } | ({"waves": self.waves} if self.waves else {})
        spec |= self.blocks
        folder = self.bench.home / "environments"
        folder.mkdir(exist_ok=True, parents=True)
        path: Path = folder / f"{ENVIRONMENT}.yaml"
        path.write_text(yaml.safe_dump(spec))
        loaded = load(path, environ={}, policy_ids=known_ids())
        adapters = self._adapters()
        gates: dict[str, Any] = {"eval": lambda: self.bench.gate}
        runtimes: dict[str, Any] = {"vllm": self.bench.runtime}
        readers = adapters.regions
        return Planner(
            loaded, adapters.store, self.registry, readers, {}, runtimes=runtimes, gates=gates, prices=self.prices
        )

    async def plan(self, scope: Scope = Scope()) -> Plan:  # noqa: B008 - frozen
        """Return a plan."""
        return await self.planner().plan(scope, now=self.bench.now)

    def applier(self) -> Applier:
        """Return an applier of the file as it is declared now."""
        return Applier(self._adapters(), self.planner(), watch=partial(self._watched), message=self.messages.append)

    def _adapters(self) -> Adapters:
        """Return the world without the regions that the file has forgotten; rollouts remember how to reach them."""
        whole = replace(self.bench.adapters(), registry=self.registry)
        kept = {name: region for name, region in whole.regions.items() if name not in self.forgotten}
        return replace(whole, regions=kept, rebuild=lambda name, spec: whole.regions.get(name))

    def _watched(self, snapshot: Snapshot) -> None:
        self.watch(snapshot)

    async def apply(self, plan: Plan | None = None, scope: Scope = Scope()) -> dict[str, Outcome]:  # noqa: B008
        """Apply a plan, a fresh one by default, while traffic flows; return the last outcome of each endpoint."""
        async with self.bench.traffic():
            outcomes = await self.applier().apply(plan or await self.plan(scope))
        return {outcome.endpoint: outcome for outcome in outcomes}

    def serving(self, endpoint: str, region: str = "local") -> dict[str, float]:
        """Return the share of traffic by model word."""
        found = self.bench.platforms[region].endpoints[endpoint]
        return {
            found.slots[slot].release.model.ref.rpartition("/")[2]: weight
            for slot, weight in found.weights.items()
            if weight
        }
