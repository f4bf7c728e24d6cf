"""The composition root: from a loaded environment file to ports that are backed by adapters.

Gates, platforms and metric sources are found through what `environments` declares; runtimes through the table here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from environments.errors import SluiceError
from environments.gates import GATES, GateKind
from environments.here import thing
from environments.load import Loaded
from environments.prices import prices_beside
from environments.spec import RegionSpec, RegistrySpec
from reconciler.core.canonical import Json
from reconciler.core.model.rollout import Rollout
from reconciler.planning.checks import Checks
from reconciler.planning.facts import Elsewhere, not_asked
from reconciler.planning.planner import Planner
from reconciler.platforms.kinds import platform_kind
from reconciler.ports import Files, Gate, KeepsOpen, ModelCopies, Registry, Runtime, Signer, Store
from reconciler.ports.adapters import Adapters, Region
from reconciler.ports.kinds import PlatformKind, Site

HOME_VARIABLE = "SLUICE_HOME"
LEDGER_KEY_VARIABLE = "SLUICE_LEDGER_KEY"


@dataclass(frozen=True)
class Composed:
    """An environment with its ports. `regions` leaves out those without an adapter, which `gaps` explains."""

    loaded: Loaded
    home: Path
    store: Store
    registry: Registry
    regions: Mapping[str, Region]
    gaps: Mapping[str, str]
    elsewhere: Elsewhere = not_asked

    def planner(self) -> Planner:
        """Return what makes plans; it gets the readers of the regions and no writer."""
        runtimes = {name: build() for name, build in _RUNTIMES.items()}
        registry = self.loaded.spec.registry
        known = {kind.name: partial(build_gate, kind, registry) for kind in GATES}
        return Planner(
            self.loaded,
            self.store,
            self.registry,
            self.regions,
            self.gaps,
            runtimes=runtimes,
            gates=known,
            elsewhere=self.elsewhere,
            prices=prices_beside(self.loaded.path.parent),
        )

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
            signer=self.ledger_signer(),
        )

    def ledger_signer(self) -> Signer | None:
        """Return what signs the ledger's head: `SLUICE_LEDGER_KEY`, or what the file names; None without either."""
        from reconciler.signing.select import signer_for

        declared = self.loaded.spec.ledger
        name = os.environ.get(LEDGER_KEY_VARIABLE) or (declared.sign_with if declared else None)
        return signer_for(name, root=self.loaded.root) if name else None

    def files(self) -> Files:
        """Return what finds the files of models on this machine."""
        from reconciler.registries.select import registry_for

        return registry_for(self.loaded.spec.registry, root=self.loaded.root, home=self.home)

    def copies(self, address: str) -> ModelCopies:
        """Return the copies of models in a bucket."""
        return copies_at(self.home, address)

    async def close(self) -> None:
        """Release the connections of regions and store."""
        for part in [part for region in self.regions.values() for part in (region.reader, region.pointers)]:
            if isinstance(part, KeepsOpen):
                await part.close()
        await self.store.close()

    def orphans(self) -> int:
        """Return how many processes of this environment run on this machine without a record that leads to them."""
        counts = {kind.name: kind.orphans for kind in kinds_of(self.loaded) if kind.orphans}
        return sum(count(self.home, self.loaded.spec.environment) for count in counts.values())

    def _rebuild(self, name: str, spec: Json) -> Region | None:
        """Return a region that the file no longer declares, from what a rollout remembers of it."""
        from pydantic import TypeAdapter, ValidationError

        try:
            declared: RegionSpec = TypeAdapter(RegionSpec).validate_python(spec)
        except ValidationError:
            return None
        kind = platform_kind(declared)
        return _region(kind, self.loaded, name, declared, self.home) if kind else None


def steady_clock() -> Callable[[], float]:
    """Return a clock in epoch seconds that never jumps: setting the clock makes no step and no bake shorter."""
    began, started = time.time(), time.monotonic()
    return lambda: began + time.monotonic() - started


def home_of(root: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where state lives: `SLUICE_HOME`, or `.sluice` beside `environments/`."""
    named = environ.get(HOME_VARIABLE)
    return (Path(named) if named else root / ".sluice").absolute()


def compose(loaded: Loaded, *, store: Store | None = None, registry: Registry | None = None) -> Composed:
    """Return the environment with its ports; nothing is started, the store is opened.

    `store` and `registry` take the place of those that the file names; with a `store`, no other environment's is read.
    """
    from reconciler.registries.select import registry_for
    from reconciler.store.connect import open_store

    home = home_of(loaded.root)
    regions, gaps = {}, {}
    for name, spec in loaded.spec.regions.items():
        kind = platform_kind(spec)
        if kind is None:
            gaps[name] = f"region {name}: this build has no adapter for platform {spec.platform} yet"
        else:
            regions[name] = _region(kind, loaded, name, spec, home)
    return Composed(
        loaded=loaded,
        home=home,
        store=store or open_store(loaded.spec.store, home=home, root=loaded.root),
        registry=registry or registry_for(loaded.spec.registry, root=loaded.root, home=home),
        regions=regions,
        gaps=gaps,
        elsewhere=not_asked if store else partial(_elsewhere, loaded, home),
    )


async def _elsewhere(loaded: Loaded, home: Path, environment: str) -> Sequence[Rollout] | str:
    from reconciler.store.elsewhere import rollouts_elsewhere

    return await rollouts_elsewhere(loaded, home, environment)


def copies_at(home: Path, address: str) -> ModelCopies:
    """Return the copies of models at an address such as `s3://BUCKET/PREFIX`; nothing is contacted."""
    from reconciler.registries.file import DIGESTS
    from reconciler.registries.model_bucket import S3ModelBucket

    return S3ModelBucket(address, home / "cache" / DIGESTS)


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
    known = {kind.name: partial(build_gate, kind, loaded.spec.registry) for kind in GATES}
    return Checks(loaded, {name: build() for name, build in _RUNTIMES.items()}, known)


def gates(registry: RegistrySpec) -> dict[str, Gate]:
    """Return every gate that this build has, by its name in the `gates` block; `registry` is where results go."""
    return {kind.name: build_gate(kind, registry) for kind in GATES}


def build_gate(kind: GateKind, registry: RegistrySpec) -> Gate:
    """Return a gate of this kind; its module is imported now."""
    gate: Gate = thing(kind.build)(registry)
    return gate


def kinds_of(loaded: Loaded) -> tuple[PlatformKind, ...]:
    """Return the kinds of platform of an environment's regions, each once; those without an adapter are left out."""
    found = (platform_kind(spec) for spec in loaded.spec.regions.values())
    return tuple({kind.name: kind for kind in found if kind}.values())


def _region(kind: PlatformKind, loaded: Loaded, name: str, spec: RegionSpec, home: Path) -> Region:
    from reconciler.metrics.prometheus import PrometheusSource
    from reconciler.metrics.select import sources_of
    from reconciler.pointers.select import pointers_for
    from reconciler.registries.select import registry_for

    environment = loaded.spec.environment
    files = registry_for(loaded.spec.registry, root=loaded.root, home=home)
    # A rollout may remember a region that the file does not declare any more.
    declared = loaded.spec.model_copy(update={"regions": {**loaded.spec.regions, name: spec}})
    copies = partial(copies_at, home)
    site = Site(environment, name, spec, loaded.root, home, files, runtime_for, declared, copies, PrometheusSource)
    platform = kind.build(site)
    return Region(
        name=name,
        reader=platform,
        pointers=pointers_for(declared, name, spec, home=home),
        writer=platform,
        runtimes={key: build() for key, build in _RUNTIMES.items()},
        metrics=sources_of(spec),
    )


def _vllm() -> Runtime:
    from reconciler.runtimes.vllm import VllmRuntime

    return VllmRuntime()


def _triton() -> Runtime:
    from reconciler.runtimes.triton.runtime import TritonRuntime

    return TritonRuntime()


_RUNTIMES: dict[str, Callable[[], Runtime]] = {"triton": _triton, "vllm": _vllm}
