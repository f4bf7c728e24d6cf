"""Where releases run: a platform, read and written by different types, and one kind of server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, Protocol, runtime_checkable

from environments.names import Address
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Release
from reconciler.core.model.tokens import Tokens

P = ParamSpec("P")
ASKED_AGAIN_S = 0.2


@dataclass(frozen=True)
class SlotAddress:
    """One slot of one endpoint in one region."""

    address: Address
    slot: str

    def __str__(self) -> str:
        return f"{self.address}/{self.slot}"


REJECTIONS = (400, 404, 413, 422)
"""Statuses with which a release refuses a request that another release may accept: length, template, model name."""


OLD_S = 90.0
"""From this age on counts say nothing of now. Prometheus scrapes every minute unless it is told otherwise, and one
scrape may come late."""


@dataclass(frozen=True)
class SlotCounts:
    """Counters of one slot since its server started; a tick is the difference of two.

    `errors` of `requests` failed as a client saw it, `rejected` were answered with one of `REJECTIONS`: None where it
    was not told, which is not zero. `begun` were sent by the gateway and `in_flight` of them have not ended, None
    likewise. Histograms are cumulative over buckets, keyed by `le` as Prometheus writes it, `+Inf` included: `itl_s` of
    gaps between tokens, `tpot_s` of each answer's mean gap, `answer_s` of whole answers. `tokens` is None where nobody
    counts them. `epoch`
    changes when the counters of outcomes start again from zero, `server_epoch` when those of latencies and tokens do;
    that one is empty while the server cannot be read. `rejected_epoch` is the one of `rejected` where the server counts
    them and not who counts `requests`, else empty.

    `age_s` is how long before the reading the oldest of the figures was counted: 0 where whoever counts was asked
    itself. `look_at` says in words where to look when that is long.
    """

    requests: int
    errors: int
    rejected: int | None = 0
    ttft_s: Mapping[str, float] = field(default_factory=dict)
    itl_s: Mapping[str, float] = field(default_factory=dict)
    tpot_s: Mapping[str, float] = field(default_factory=dict)
    answer_s: Mapping[str, float] = field(default_factory=dict)
    tokens: Tokens | None = None
    running: float = 0.0
    waiting: float = 0.0
    kv_cache_usage: float = 0.0
    epoch: str = ""
    server_epoch: str = ""
    rejected_epoch: str = ""
    begun: int | None = None
    in_flight: int | None = None
    age_s: float = 0.0
    look_at: str = ""


@dataclass(frozen=True)
class Cohort:
    """Requests to one slot that began in the same window under the same weights, with what became of them so far.

    The window opens at `began_s` (epoch seconds) and lasts `window_s`. `weights` changes whenever the endpoint's
    weights do, so a window in which they changed gives two cohorts. `begun` may still grow while the window is open;
    `ended`, and of those `errors` and `rejected`, grow until every request has ended. All four are cumulative: reading
    them again never counts a request twice. `weight_pct` is the slot's share under those weights, None where the
    gateway cannot tell; `releases` are the ids of what was in the slots then, as far as it can. Where it tells neither,
    no name of `weights` may come back: nobody could tell a rollout's requests from an earlier one's.
    """

    began_s: float
    window_s: float
    weights: str
    begun: int
    ended: int
    errors: int = 0
    rejected: int = 0
    weight_pct: float | None = None
    releases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """What changed in a region: `endpoints` by name, None when it may be any; `cursor` is what to ask with next."""

    cursor: str
    endpoints: frozenset[str] | None = None


class PlatformReader(Protocol):
    """Reads one region."""

    def observe(self, endpoints: Sequence[str] | None = None) -> AsyncIterator[Sequence[ObservedEndpoint]]:
        """Yield what every slot runs and every weight is, page by page; all endpoints of the region for None.

        An endpoint that is named and not there is yielded with empty slots.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read (retryable), also between two pages.
        """
        ...


@dataclass(frozen=True)
class InProgress:
    """What a verb returns that has begun and is not in force yet; `why` says in words what it waits for."""

    why: str


class PlatformWriter(Protocol):
    """Changes one region.

    A verb returns None when its effect is in force, and raises when it will not be. What takes longer than a few
    seconds begins and returns `InProgress`: the caller asks again with the same arguments until it hears None.
    """

    async def start(self, slot: SlotAddress, release: Release, *, fence: int, replicas: int = 1) -> InProgress | None:
        """Begin to run `release` in the slot; None when the platform has accepted it, not when it is ready.

        `replicas` is more than 1 only where the platform `KeepsReplicas`.
        """
        ...

    async def mark_warm(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Record that the servers that run in the slot now have been warmed up; forgotten of one that restarts."""
        ...

    async def weigh(self, endpoint: Address, weights_pct: Mapping[str, float], *, fence: int) -> InProgress | None:
        """Make the gateway split by these weights (slot → percent, sum 100); None when it does."""
        ...

    async def stop(self, slot: SlotAddress, *, fence: int) -> InProgress | None:
        """Empty a slot that has no weight, letting requests in flight finish; None when it is empty."""
        ...

    async def remove(self, endpoint: Address, *, fence: int) -> InProgress | None:
        """Take the endpoint out of the gateway and empty all its slots; None when it is gone."""
        ...


@dataclass(frozen=True)
class ServerOptions:
    """How a server is told what to serve: arguments, variables of its environment, or both."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


OPENAI, KSERVE = "openai", "kserve"
"""Protocols that clients of an endpoint may speak."""


@dataclass(frozen=True)
class Offers:
    """What servers of one kind give: the protocol of their clients, and the judge's latencies that they tell.

    `perhaps` are those that only some of their models or versions tell.
    """

    protocol: str
    latencies: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()


class Runtime(Protocol):
    """Knows one kind of server: how it starts, when it is ready, how it is warmed up, what it counts."""

    @property
    def ports(self) -> int:
        """Return how many ports a server takes, one after another from the one that it is given."""
        ...

    @property
    def offers(self) -> Offers:
        """Return what its servers give to clients and to the judge."""
        ...

    def check(self, engine: Mapping[str, Any]) -> None:
        """Refuse engine arguments that the runtime does not know.

        Raises:
            SluiceError: `RUN-001`, naming the argument and the nearest known one.
        """
        ...

    def options(self, release: Release, *, paths: Mapping[str, str], host: str, port: int) -> ServerOptions:
        """Return what tells a server to serve `release` at `host` and `port`.

        `paths` are the places of its artifacts as the server sees them, keyed as its lineage is: `model`,
        `adapters.NAME`.
        """
        ...

    async def ready(self, url: str, release: Release, *, model_path: str = "") -> str | None:
        """Return None when the server at `url` is healthy and says that it serves this release's model, else why not.

        `model_path` is the place that the server was started with, where the caller knows it.

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
class LaysOutFiles(Protocol):
    """A runtime whose servers start from a folder that is made of a release's files, not from those alone."""

    def lay_out(self, release: Release, *, paths: Mapping[str, str], folder: Path) -> Mapping[str, str]:
        """Write below `folder`, which is the server's alone, what it starts from; return `paths` for `options`.

        A repeat finds what is there. It blocks: it reads and writes files.

        Raises:
            SluiceError: the release's files are not what the server could serve.
        """
        ...


@dataclass(frozen=True)
class PlannedFiles:
    """What servers of a release start from beside its model, for a platform that has no folder to lay it out in.

    `files` is path → text, `links` path → path in the model (empty: all of it), both from the root of what is laid out;
    `paths` is what `options` is told of it.
    """

    files: Mapping[str, str]
    links: Mapping[str, str]
    paths: Mapping[str, str]


@runtime_checkable
class PlansFiles(Protocol):
    """A runtime that lays files out and can say beforehand which, so that others bring them to its servers."""

    def plan_files(self, release: Release, *, source: Path, model_path: str, root: str, control: str) -> PlannedFiles:
        """Return what is to lie at `root`, to a server that sees the model at `model_path`.

        `source` is where the model's files can be read now; they are listed, and its small texts are read: it blocks.
        `control` is the word that only whoever may change a running server knows.

        Raises:
            SluiceError: the release's files are not what the server could serve.
        """
        ...


@dataclass(frozen=True)
class Scraped:
    """One sample of a metric: a histogram's buckets are samples named `…_bucket` with the label `le`."""

    name: str
    labels: Mapping[str, str]
    value: float


@runtime_checkable
class CountsFromSamples(Protocol):
    """A runtime that makes counts of a server's samples, whoever has scraped them."""

    @property
    def metrics(self) -> str:
        """Return the regular expression of the names of metrics that it needs."""
        ...

    @property
    def heartbeat(self) -> str:
        """Return the name of a metric that every server tells from its start on."""
        ...

    def counts_from(self, samples: Sequence[Scraped], *, model: str, where: str) -> SlotCounts:
        """Return the counters of one server, of what it serves under the name `model`: its endpoint's.

        Raises:
            SluiceError: `RUN-005` (retryable) they lack what is judged.
        """
        ...


@dataclass(frozen=True)
class KvCache:
    """What one server keeps of requests: tokens, and how many requests of the full length those are."""

    tokens: int
    concurrency: float


@runtime_checkable
class TellsCache(Protocol):
    """A runtime whose servers say how large their KV cache is once they have started."""

    async def kv_cache(self, url: str) -> KvCache | None:
        """Return a server's cache, None where it does not say.

        Raises:
            SluiceError: `RUN-005` the server cannot be read (retryable).
        """
        ...


async def finished(verb: Callable[P, Awaitable[InProgress | None]], *args: P.args, **kwargs: P.kwargs) -> None:
    """Ask a verb again until its effect is in force, for as long as that takes: a rollout's loop has limits instead."""
    while await verb(*args, **kwargs):  # noqa: ASYNC110 - the platform is elsewhere and sets no event
        await asyncio.sleep(ASKED_AGAIN_S)


async def read_all(reader: PlatformReader, endpoints: Sequence[str] | None = None) -> tuple[ObservedEndpoint, ...]:
    """Return all pages of a reading in one.

    Raises:
        SluiceError: `PLAT-001` the region cannot be read.
    """
    return tuple([endpoint async for page in reader.observe(endpoints) for endpoint in page])
