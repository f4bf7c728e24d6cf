"""The composition root: from a loaded environment file to ports that are backed by adapters.

The one module that knows every adapter. A new platform, runtime, metric source or gate is one line in a table here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from environments.errors import SluiceError
from environments.load import Loaded
from environments.spec import LocalRegion, RegionSpec, RegistrySpec
from reconciler.core.canonical import Json
from reconciler.planning.checks import Checks
from reconciler.planning.planner import Planner
from reconciler.ports import Gate, MetricSource, Registry, Runtime, Store
from reconciler.ports.adapters import Adapters, Region

HOME_VARIABLE = "SLUICE_HOME"


@dataclass(frozen=True)
class Composed:
    """An environment with its ports. `regions` leaves out those without an adapter, which `gaps` explains."""

    loaded: Loaded
    home: Path
    store: Store
    registry: Registry
    regions: Mapping[str, Region]
    gaps: Mapping[str, str]

    def planner(self) -> Planner:
        """Return what makes plans; it gets the readers of the regions and no writer."""
        runtimes = {name: build() for name, build in _RUNTIMES.items()}
        registry = self.loaded.spec.registry
        known = {name: partial(build, registry) for name, build in _GATES.items()}
        return Planner(self.loaded, self.store, self.registry, self.regions, self.gaps, runtimes=runtimes, gates=known)

    def adapters(self) -> Adapters:
        """Return what the loop works with."""
        return Adapters(
            store=self.store,
            registry=self.registry,
            regions=self.regions,
            gates=gates(self.loaded.spec.registry),
            clock=steady_clock(),
            root=str(self.loaded.root),
            reports=str(self.home / "reports"),
            rebuild=self._rebuild,
        )

    def orphans(self) -> int:
        """Return how many processes of this environment run on this machine without a record that leads to them."""
        from reconciler.platforms.local.orphans import orphans

        has_local = any(isinstance(region, LocalRegion) for region in self.loaded.spec.regions.values())
        return orphans(self.home, self.loaded.spec.environment) if has_local else 0

    def _rebuild(self, name: str, spec: Json) -> Region | None:
        """Return a region that the file no longer declares, from what a rollout remembers of it."""
        from pydantic import TypeAdapter, ValidationError

        try:
            declared: RegionSpec = TypeAdapter(RegionSpec).validate_python(spec)
        except ValidationError:
            return None
        build = _PLATFORMS.get(declared.platform)
        return build(self.loaded, name, declared, self.home) if build else None


def steady_clock() -> Callable[[], float]:
    """Return a clock in epoch seconds that never jumps: setting the clock makes no step and no bake shorter."""
    began, started = time.time(), time.monotonic()
    return lambda: began + time.monotonic() - started


def home_of(root: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where state lives: `SLUICE_HOME`, or `.sluice` beside `environments/`."""
    named = environ.get(HOME_VARIABLE)
    return (Path(named) if named else root / ".sluice").absolute()


def compose(loaded: Loaded) -> Composed:
    """Return the environment with its ports; nothing is started, the store is opened."""
    from reconciler.registries.select import registry_for
    from reconciler.store.connect import open_store

    home = home_of(loaded.root)
    regions, gaps = {}, {}
    for name, spec in loaded.spec.regions.items():
        build = _PLATFORMS.get(spec.platform)
        if build is None:
            gaps[name] = f"region {name}: this build has no adapter for platform {spec.platform} yet"
        else:
            regions[name] = build(loaded, name, spec, home)
    return Composed(
        loaded=loaded,
        home=home,
        store=open_store(loaded.spec.store, home=home, root=loaded.root),
        registry=registry_for(loaded.spec.registry, root=loaded.root, home=home),
        regions=regions,
        gaps=gaps,
    )


def runtime_for(name: str) -> Runtime:
    """Return the runtime called `name`.

    Raises:
        SluiceError: `RUN-004` this build has none of that name.
    """
    build = _RUNTIMES.get(name)
    if build is None:
        raise SluiceError(
            "RUN-004",
            where=name,
            what=f"this build has no adapter for runtime {name} yet",
            do=f"use one of: {', '.join(sorted(_RUNTIMES))}",
        )
    return build()


def checks_of(loaded: Loaded) -> Checks:
    """Return what this build can say of an environment's files; nothing is opened or contacted."""
    known = {name: partial(build, loaded.spec.registry) for name, build in _GATES.items()}
    return Checks(loaded, {name: build() for name, build in _RUNTIMES.items()}, known)


def gates(registry: RegistrySpec) -> dict[str, Gate]:
    """Return every gate that this build has, by its name in the `gates` block; `registry` is where results go."""
    return {name: build(registry) for name, build in _GATES.items()}


def _local(loaded: Loaded, name: str, spec: RegionSpec, home: Path) -> Region:
    from reconciler.platforms.local.platform import LocalPlatform
    from reconciler.pointers.flagd import FlagdPointers
    from reconciler.registries.select import registry_for

    if not isinstance(spec, LocalRegion):
        raise TypeError(f"{name} is not a local region")
    environment = loaded.spec.environment
    placed = spec.model_copy(update={"serve_command": _absolute(spec.serve_command, loaded.root)})
    files = registry_for(loaded.spec.registry, root=loaded.root, home=home)
    platform = LocalPlatform(environment, name, placed, runtime_for, home, files=files)
    return Region(
        name=name,
        reader=platform,
        pointers=FlagdPointers(home / environment / name),
        writer=platform,
        runtimes={key: build() for key, build in _RUNTIMES.items()},
        metrics=_metrics(spec.prometheus),
    )


def _absolute(command: list[str], root: Path) -> list[str]:
    """Return a command whose program, when it is a relative path, is found from wherever Sluice was called."""
    program, *arguments = command
    return [str(root / program) if "/" in program else program, *arguments]


def _metrics(prometheus: str | None) -> dict[str, MetricSource]:
    from reconciler.metrics.http import HttpSource
    from reconciler.metrics.prometheus import PrometheusSource

    sources: dict[str, MetricSource] = {"http": HttpSource()}
    if prometheus:
        sources["prometheus"] = PrometheusSource(prometheus)
    return sources


def _vllm() -> Runtime:
    from reconciler.runtimes.vllm import VllmRuntime

    return VllmRuntime()


def _eval_gate(registry: RegistrySpec) -> Gate:
    from reconciler.gates.eval.gate import EvalGate

    return EvalGate(registry.mlflow)


def _load_gate(registry: RegistrySpec) -> Gate:
    from reconciler.gates.load_gate import LoadGate

    return LoadGate()


_PLATFORMS: dict[str, Callable[[Loaded, str, RegionSpec, Path], Region]] = {"local": _local}
_RUNTIMES: dict[str, Callable[[], Runtime]] = {"vllm": _vllm}
_GATES: dict[str, Callable[[RegistrySpec], Gate]] = {"eval": _eval_gate, "load": _load_gate}
