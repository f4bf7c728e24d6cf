"""Where releases run: a platform, read and written by different types, and one kind of server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from environments.names import Address
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Artifact, Release
from reconciler.core.model.tokens import Tokens


@dataclass(frozen=True)
class SlotAddress:
    """One slot of one endpoint in one region."""

    address: Address
    slot: str

    def __str__(self) -> str:
        return f"{self.address}/{self.slot}"


REJECTIONS = (400, 404, 413, 422)
"""Statuses with which a release refuses a request that another release may accept: length, template, model name."""


@dataclass(frozen=True)
class SlotCounts:
    """Counters of one slot since its server started; a tick is the difference of two.

    `errors` of `requests` failed as a client saw it, `rejected` were answered with one of `REJECTIONS`. Histograms are
    cumulative over buckets, keyed by `le` as Prometheus writes it, `+Inf` included: `itl_s` of gaps between tokens,
    `tpot_s` of each answer's mean gap, `answer_s` of whole answers. `tokens` is None where nobody counts them. `epoch`
    changes when the counters of outcomes start again from zero, `server_epoch` when those of latencies and tokens do;
    that one is empty while the server cannot be read.
    """

    requests: int
    errors: int
    rejected: int = 0
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


@dataclass(frozen=True)
class Cohort:
    """Requests to one slot that began in the same window under the same weights, with what became of them so far.

    The window opens at `began_s` (epoch seconds) and lasts `window_s`. `weights` changes whenever the endpoint's
    weights do, so a window in which they changed gives two cohorts. `begun` may still grow while the window is open;
    `ended`, and of those `errors` and `rejected`, grow until every request has ended. All four are cumulative: reading
    them again never counts a request twice.
    """

    began_s: float
    window_s: float
    weights: str
    begun: int
    ended: int
    errors: int = 0
    rejected: int = 0


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


class Runtime(Protocol):
    """Knows one kind of server: how it starts, when it is ready, how it is warmed up, what it counts."""

    def check(self, engine: Mapping[str, Any]) -> None:
        """Refuse engine arguments that the runtime does not know.

        Raises:
            SluiceError: `RUN-001`, naming the argument and the nearest known one.
        """
        ...

    def command(
        self, release: Release, serve_command: Sequence[str], *, paths: Mapping[str, str], port: int
    ) -> tuple[str, ...]:
        """Return the command line that serves `release` on `port` of loopback.

        `paths` are the folders of its artifacts, keyed as its lineage is: `model`, `adapters.NAME`.
        """
        ...

    async def ready(self, url: str, release: Release, *, model_path: str = "") -> str | None:
        """Return None when the server at `url` is healthy and says that it serves this release's model, else why not.

        `model_path` is the folder that the server was started with, where the caller knows it.

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
class CountsByStart(Protocol):
    """A platform whose gateway knows when each request began, and so which requests are still waiting for an answer.

    Only such counts compare arms fairly after a weight change: failures end at once, answers take their time.
    """

    async def cohorts(self, endpoint: Address, *, since_s: float) -> Mapping[str, tuple[Cohort, ...]]:
        """Return by slot the cohorts whose window opened at or after `since_s`, oldest first; empty ones are left out.

        A gateway remembers half an hour at the least. A restart of the gateway loses what it had counted: then
        `traffic` has another epoch too.

        Raises:
            SluiceError: `PLAT-001` the gateway does not answer (retryable).
        """
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
