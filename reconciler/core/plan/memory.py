"""GPU memory in a plan: for each release that is to be loaded, whether it fits its pool's GPUs, by how much. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from environments.names import Address
from environments.spec import EnvironmentSpec, GpuPool
from reconciler.core.canonical import Json
from reconciler.core.memory.estimate import Fit, Gpu, Memory, Unknown, estimate, ways_out
from reconciler.core.memory.interval import Interval, exactly, gib
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.change import LOADS, Action, Change

ESTIMATED, LOGGED = "estimate", "vllm"


@dataclass(frozen=True)
class LoggedCache:
    """What a server said of its KV cache after it had started: tokens, and requests of the full length.

    `gpu` is the kind that its pool had, None where nobody knows; `at` is RFC 3339 in UTC.
    """

    release: str
    gpu: str | None
    tokens: int
    concurrency: float
    at: str


@dataclass(frozen=True)
class ReleaseMemory:
    """One release at one address on the GPUs of its pool: an estimate, what vLLM logged, or why neither is known.

    What was logged takes the place of the estimate's tokens and requests. `ways` would make a release fit that may not.
    """

    address: str
    release: str
    pool: str
    gpu: Gpu
    memory: Memory | None = None
    unknown: str | None = None
    logged: LoggedCache | None = None
    ways: tuple[str, ...] = ()

    @property
    def fit(self) -> Fit | None:
        """Return whether it fits; None for what is not known."""
        if self.logged:
            return Fit.FITS if self.logged.concurrency >= 1 else Fit.NOT
        return self.memory.fit if self.memory else None

    @property
    def tokens(self) -> Interval | None:
        """Return how many tokens the cache of one replica holds."""
        if self.logged:
            return exactly(self.logged.tokens)
        return self.memory.tokens if self.memory else None

    @property
    def concurrency(self) -> Interval | None:
        """Return how many requests of the full length run at once on one replica."""
        if self.logged:
            return exactly(self.logged.concurrency)
        return self.memory.concurrency if self.memory else None


def memory_of(
    spec: EnvironmentSpec,
    desired: DesiredState,
    changes: Sequence[Change],
    logged: Mapping[Address, LoggedCache],
) -> tuple[ReleaseMemory, ...]:
    """Return the memory of every release that a plan loads onto GPUs and vLLM serves, sorted by address."""
    loads = {c.address for c in changes if c.action not in (Action.NONE, Action.REMOVE) and c.moves_by in LOADS}
    found = []
    for each in desired.endpoints:
        pool = spec.regions[each.address.region].gpu_pools.get(each.pool or "")
        if pool and each.address in loads and _on_gpus(spec, each):
            found.append(_memory(each, pool, _same(each, pool, logged.values())))
    return tuple(found)


def memory_to_json(found: ReleaseMemory) -> Json:
    """Return one line of the plan's `capacity`: its `memory` tells it from those of pools and of measurements."""
    told: Json = {
        "release": found.release,
        "pool": found.pool,
        "gpu": found.gpu.name,
        "vram_gib": found.gpu.vram_gib,
        "source": LOGGED if found.logged else ESTIMATED,
        "logged_at": found.logged.at if found.logged else None,
        "fit": str(found.fit) if found.fit else None,
        "unknown": found.unknown,
        "kv_cache_tokens": _pair(found.tokens),
        "max_concurrency": _pair(found.concurrency, 2),
        "ways": list(found.ways),
    }
    return {"address": found.address, "memory": told | _parts(found.memory)}


def _parts(memory: Memory | None) -> Json:
    parts = ("budget", "weights", "overhead", "kv")
    told: Json = {f"{name}_gib": _pair(gib(getattr(memory, name)), 2) if memory else None for name in parts}
    length = memory.max_model_len if memory else None
    return told | {"max_model_len": length, "causes": list(memory.causes) if memory else []}


def _pair(value: Interval | None, digits: int = 0) -> list[float] | None:
    if value is None:
        return None
    return [round(each, digits) if digits else int(each) for each in (value.low, value.high)]


def _memory(desired: DesiredEndpoint, pool: GpuPool, logged: LoggedCache | None) -> ReleaseMemory:
    release, gpu = desired.release, Gpu(pool.gpu, pool.vram_gib)
    lineage = release.lineage.get("model")
    facts = lineage.size if lineage else None
    made = ReleaseMemory(str(desired.address), release.id, desired.pool or "", gpu, logged=logged)
    if facts is None:
        return replace(made, unknown=f"nothing that is read here says how large {release.model.ref} is")
    found = estimate(facts, release.engine, gpu, adapters=len(release.adapters))
    if isinstance(found, Unknown):
        return replace(made, unknown=found.why)
    fits = logged or found.fit is Fit.FITS
    ways = () if fits else ways_out(facts, release.engine, gpu, found, adapters=len(release.adapters))
    return replace(made, memory=found, ways=ways)


def _on_gpus(spec: EnvironmentSpec, desired: DesiredEndpoint) -> bool:
    declared = spec.endpoints.get(desired.address.endpoint)
    return desired.release.runtime == "vllm" and declared is not None and declared.gpus_per_replica > 0


def _same(desired: DesiredEndpoint, pool: GpuPool, logged: Iterable[LoggedCache]) -> LoggedCache | None:
    """Return the newest line that the same release logged on the same kind of GPU, in whichever region that was."""
    alike = [each for each in logged if each.release == desired.release.id and each.gpu == pool.gpu]
    return max(alike, key=lambda each: each.at, default=None)
