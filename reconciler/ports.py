"""The ports: what the reconciler needs of the world, as small async protocols. Reading and writing are different types.

Imports the core and `environments`. Adapters implement these; `reconciler.loop` and the commands call them.
Every verb may be called again: a repeat with the same arguments succeeds and changes nothing more.
Every writer verb takes `fence`, the token of the caller's lease. A writer refuses a token lower than one it has
seen for the same endpoint (`LEASE-002`), so that an owner that slept through its lease cannot act when it wakes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from environments.names import Address
from environments.refs import Ref
from reconciler.core.canonical import Json
from reconciler.core.observed import ObservedEndpoint
from reconciler.core.release import Artifact, Lineage, Release
from reconciler.core.tokens import Tokens


@dataclass(frozen=True)
class SlotAddress:
    """One slot of one endpoint in one region."""

    address: Address
    slot: str

    def __str__(self) -> str:
        return f"{self.address}/{self.slot}"


class PlatformReader(Protocol):
    """Reads one region."""

    async def observe(self, endpoints: Sequence[str] | None = None) -> tuple[ObservedEndpoint, ...]:
        """Return what every slot runs and every weight is; all endpoints of the region when `endpoints` is None.

        An endpoint that is named and not there is returned with empty slots.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read (retryable).
        """
        ...


class PlatformWriter(Protocol):
    """Changes one region. Each verb returns when its effect is in force, and raises when it is not."""

    async def start(self, slot: SlotAddress, release: Release, *, fence: int) -> None:
        """Begin running `release` in the slot; return when the platform has accepted it, not when it is ready."""
        ...

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> None:
        """Record that the slot's present server has been warmed up; forgotten when that server restarts."""
        ...

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> None:
        """Make the gateway split by these weights (slot → percent, sum 100), and return when it does."""
        ...

    async def stop(self, slot: SlotAddress, *, fence: int) -> None:
        """Empty a slot that has no weight, letting requests in flight finish; succeed if it is empty already."""
        ...

    async def remove(self, endpoint: Address, *, fence: int) -> None:
        """Take the endpoint out of the gateway and empty all its slots; succeed if it is gone already."""
        ...


REJECTIONS = (400, 404, 413, 422)
"""Statuses with which a release refuses a request that another release may accept: length, template, model name."""


@dataclass(frozen=True)
class SlotCounts:
    """Counters of one slot since its server started; a tick is the difference of two.

    `errors` of `requests` failed as a client saw it, `rejected` were answered with one of `REJECTIONS`. Histograms are
    cumulative over buckets, keyed by `le` as Prometheus writes it, `+Inf` included. `tokens` is None where nobody
    counts them. `epoch` changes when the counters start again from zero.
    """

    requests: int
    errors: int
    rejected: int = 0
    ttft_s: Mapping[str, float] = field(default_factory=dict)
    itl_s: Mapping[str, float] = field(default_factory=dict)
    tokens: Tokens | None = None
    running: float = 0.0
    waiting: float = 0.0
    kv_cache_usage: float = 0.0
    epoch: str = ""


class Runtime(Protocol):
    """Knows one kind of server: how it starts, when it is ready, how it is warmed up, what it counts."""

    def check(self, engine: Mapping[str, Any]) -> None:
        """Refuse engine arguments that the runtime does not know.

        Raises:
            SluiceError: `RUN-001`, naming the argument and the nearest known one.
        """
        ...

    def command(self, release: Release, serve_command: Sequence[str], *, model_path: str, port: int) -> tuple[str, ...]:
        """Return the command line that serves `release` on `port` of loopback."""
        ...

    async def ready(self, url: str, release: Release) -> str | None:
        """Return None when the server at `url` is healthy and says that it serves this release's model, else why not.

        Raises:
            SluiceError: `RUN-002` it serves another model: waiting will not help.
        """
        ...

    async def warm(self, url: str, release: Release, requests: int) -> None:
        """Send `requests` streaming requests and wait for them.

        Raises:
            SluiceError: `RUN-003` one of them failed.
        """
        ...

    async def counts(self, url: str) -> SlotCounts:
        """Return the server's counters; `errors` is 0 where the runtime does not count them as a client would."""
        ...


@runtime_checkable
class CountsTraffic(Protocol):
    """A platform whose gateway counts requests, errors and rejections for each slot, as clients saw them."""

    async def traffic(self, endpoint: Address) -> Mapping[str, SlotCounts]:
        """Return counters by slot; `requests`, `errors` and `rejected` are the gateway's, the rest is empty."""
        ...


@runtime_checkable
class LoadsAdapters(Protocol):
    """A platform that can load an adapter onto a running base without a restart."""

    async def load_adapter(self, slot: SlotAddress, name: str, artifact: Artifact, *, fence: int) -> None:
        """Load an adapter on every replica of the slot; succeed if it is loaded already."""
        ...


@runtime_checkable
class Mirrors(Protocol):
    """A platform whose gateway can copy traffic to a slot without returning its answers."""

    async def mirror(self, endpoint: Address, slot: str, share_pct: float, *, fence: int) -> None:
        """Copy a share of requests to `slot`; 0 turns it off."""
        ...


@dataclass(frozen=True)
class Resolved:
    """What a registry knows of a reference. `text` is a prompt's content, None for everything else."""

    artifact: Artifact
    lineage: Lineage
    text: str | None = None


class Registry(Protocol):
    """Turns references into digests and lineage."""

    async def resolve(self, ref: Ref, *, kind: str) -> Resolved:
        """Return digest and lineage; `kind` is `model`, `adapter`, `prompt`, `index` or `guardrails`.

        Raises:
            SluiceError: `REG-001` no such thing, `REG-002` refused (pickled weights),
                `REG-003` out of reach (retryable).
        """
        ...

    async def mark(self, ref: Ref, alias: str, *, kind: str) -> str | None:
        """Point `alias` at `ref` and return the reference that had it before, None if none or not supported."""
        ...


@dataclass(frozen=True)
class PromptSplit:
    """How one prompt of one endpoint is split between releases.

    `variants` are (release id, prompt text, share of users in percent); shares add up to 100. The challenger comes
    first, so that users who have it keep it while its share grows. `seed` (the rollout's id) decides who is first.
    """

    endpoint: str
    prompt: str
    variants: tuple[tuple[str, str, float], ...]
    seed: str


class Pointers(Protocol):
    """The flag document of one region that says which user gets which prompt."""

    async def read(self) -> tuple[PromptSplit, ...]:
        """Return what is published, sorted by endpoint and prompt; empty when nothing is."""
        ...

    async def publish(self, endpoint: str, splits: Sequence[PromptSplit], *, fence: int) -> None:
        """Replace all splits of one endpoint in one atomic write; other endpoints keep theirs."""
        ...


@dataclass(frozen=True)
class Sample:
    """A metric's value over a window, with the number of observations behind it and its unit in words, if known."""

    value: float
    samples: int
    unit: str = ""


class MetricSource(Protocol):
    """Reads business metrics that have no concurrent baseline."""

    async def read(self, query: str, variables: Mapping[str, str], window_s: float) -> Sample | None:
        """Return the value over the last `window_s` seconds, None when there is no data: never zero instead."""
        ...


LiveCounts = Callable[[], Awaitable[SlotCounts | None]]


@dataclass(frozen=True)
class GateContext:
    """What a gate may look at: the challenger and champion of one endpoint in one region, reached past the weights.

    `settings` is the gate's own block with the endpoint's `slo`; paths in it are relative to `root`. `reports` is a
    folder for reports. `live` reads the champion's counters, so that a gate can stop when its users suffer.
    """

    address: Address
    rollout: str
    challenger: Release
    challenger_url: str
    champion: Release | None
    champion_url: str | None
    settings: Json
    root: str
    reports: str
    live: LiveCounts


@dataclass(frozen=True)
class GateEvidence:
    """What a gate found: figures for people and machines, a verdict's name, and a sentence that says why."""

    gate: str
    verdict: str
    sentence: str
    figures: Json = field(default_factory=dict)
    links: tuple[str, ...] = ()


class Gate(Protocol):
    """A rule that needs evidence before the next step."""

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Refuse settings, and files below `root` that they name, which could never give evidence: before a plan.

        Raises:
            SluiceError: what `evidence` would raise for them.
        """
        ...

    async def evidence(self, context: GateContext) -> GateEvidence:
        """Collect evidence. A gate that breaks raises; the loop turns that into the verdict ERROR."""
        ...


@dataclass(frozen=True)
class Lease:
    """The right to write to one endpoint until `expires_at` (epoch seconds). `token` grows with every new owner."""

    name: str
    owner: str
    token: int
    expires_at: float


@dataclass(frozen=True)
class Entry:
    """One ledger entry as written; `hash` covers everything else, `prev` is the hash of the entry before."""

    environment: str
    seq: int
    at: str
    actor: str
    kind: str
    address: str
    rollout: str | None
    summary: str
    body: Json
    prev: str
    hash: str


@dataclass(frozen=True)
class Verification:
    """What a check of one environment's hash chain found.

    `checked` entries from the start are sound. `problem` says in words what is wrong, at place `seq`.
    """

    ok: bool
    checked: int
    problem: str | None = None
    seq: int | None = None


@dataclass(frozen=True)
class StoredRollout:
    """A rollout as stored: its JSON and the version that a compare-and-set must name."""

    id: str
    environment: str
    endpoint: str
    active: bool
    version: int
    body: Json


class Store(Protocol):
    """Leases, rollouts, judge ticks and the ledger, shared by commands and controllers."""

    async def acquire(self, name: str, owner: str, *, ttl_s: float, now: float) -> Lease:
        """Take a free, expired or own lease; a new owner gets a higher token, the same owner keeps its own.

        Raises:
            SluiceError: `LEASE-001` someone else holds it; `where` is the lease, `what` names the owner.
        """
        ...

    async def renew(self, lease: Lease, *, ttl_s: float, now: float) -> Lease:
        """Extend a lease that is still ours.

        Raises:
            SluiceError: `LEASE-002` it has another owner or token.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back; succeed if it is not ours any more."""
        ...

    async def lease(self, name: str) -> Lease | None:
        """Return the lease as it stands, expired or not."""
        ...

    async def break_lease(self, name: str, owner: str) -> None:
        """Expire `owner`'s lease, whose process is known to be dead; succeed if someone else has it now."""
        ...

    async def create_rollout(
        self, environment: str, endpoint: str, id: str, body: Json, *, lease: Lease
    ) -> StoredRollout:
        """Store a new active rollout.

        Raises:
            SluiceError: `STORE-003` the endpoint has an active rollout already; `LEASE-002` the lease is not ours.
        """
        ...

    async def save_rollout(
        self, rollout: StoredRollout, body: Json, *, active: bool, lease: Lease | None
    ) -> StoredRollout:
        """Compare and set. `lease=None` is a person's hand (pause, abort): the version alone guards it.

        Raises:
            SluiceError: `STORE-002` the version has moved (retryable); `LEASE-002` the lease is not ours.
        """
        ...

    async def rollouts(
        self, environment: str, *, endpoint: str | None = None, active: bool | None = None, limit: int = 100
    ) -> tuple[StoredRollout, ...]:
        """Return rollouts, newest first."""
        ...

    async def rollout(self, id: str) -> StoredRollout | None:
        """Return one rollout by its id, None when there is none."""
        ...

    async def append(
        self,
        environment: str,
        *,
        at: str,
        actor: str,
        kind: str,
        address: str,
        summary: str,
        rollout: str | None = None,
        body: Json | None = None,
        lease: Lease | None = None,
    ) -> Entry:
        """Append to the environment's hash chain in one transaction; with a lease, only while it is ours.

        Raises:
            SluiceError: `STORE-001` it could not be written (disk full, database gone); `LEASE-002`.
        """
        ...

    def entries(
        self, environment: str, *, newest_first: bool = False, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """Yield ledger entries in order."""
        ...

    async def verify(self, environment: str) -> Verification:
        """Check the environment's hash chain against itself and against the head that is kept beside it."""
        ...

    async def add_tick(self, rollout: str, region: str, body: Json) -> None:
        """Record one judge tick, for replay."""
        ...

    async def ticks(self, rollout: str, region: str) -> tuple[Json, ...]:
        """Return the recorded ticks of a rollout in one region, in order."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
