"""What some platforms can beyond reading, starting and weighing: each a type, which a planner asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from environments.names import Address
from reconciler.core.model.release import Artifact, Release
from reconciler.ports.serving import Changes, Cohort, InProgress, Runtime, SlotAddress, SlotCounts


@runtime_checkable
class CountsTraffic(Protocol):
    """A platform whose gateway counts requests, errors and rejections for each slot, as clients saw them."""

    async def traffic(self, endpoint: Address) -> Mapping[str, SlotCounts]:
        """Return counters by slot; requests and what became of them are the gateway's, latencies and tokens are empty.

        A gateway that cannot tell rejections from answers says None: the servers' own count stands in for its.

        Their `age_s` is told where somebody else has collected them: counts that nobody renews look like no requests.
        """
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
class CollectsCounts(Protocol):
    """A platform in which somebody else may collect what servers count, so that not each of them has to be asked."""

    async def collected(
        self, endpoint: Address, servers: Sequence[str], runtime: Runtime
    ) -> Mapping[str, SlotCounts] | None:
        """Return the counters of these servers by name, with their age; None where nobody collects them.

        A server of which nothing was collected is left out.

        Raises:
            SluiceError: whoever collects them does not answer (retryable).
        """
        ...


@runtime_checkable
class KeepsReplicas(Protocol):
    """A platform whose slots have as many servers as they are told to."""

    async def scale(self, slot: SlotAddress, replicas: int, *, fence: int) -> InProgress | None:
        """Have the slot run `replicas` servers (1 or more); None when the platform has accepted it.

        Servers that go let their requests in flight finish.
        """
        ...


@runtime_checkable
class BorrowsScalers(Protocol):
    """A platform on which autoscalers keep the number of servers, and `scale` borrows them for a rollout's time."""

    async def give_back(self, endpoint: Address, *, fence: int) -> None:
        """Let the endpoint's autoscalers be as they were; succeed if none is borrowed.

        Raises:
            SluiceError: `LEASE-002`; `PLAT-001` the region cannot be changed (retryable).
        """
        ...


@dataclass(frozen=True, order=True)
class ForeignField:
    """A field that the reconciler writes and somebody else owns. `at` is when they last did, empty where unknown."""

    object: str
    field: str
    manager: str
    operation: str
    at: str = ""


@runtime_checkable
class Adopts(Protocol):
    """A platform whose objects' fields have owners, and that takes them over when a person asks for it."""

    async def foreign(self, endpoint: Address) -> tuple[ForeignField, ...]:
        """Return what others own of an endpoint's objects.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read (retryable).
        """
        ...

    async def adopt(self, endpoint: Address, *, fence: int) -> tuple[ForeignField, ...]:
        """Take over all of it, values as they are, and return what was taken; succeed if that is nothing.

        Raises:
            SluiceError: `LEASE-002`; `PLAT-001` the region cannot be changed (retryable).
        """
        ...


@runtime_checkable
class TellsChanges(Protocol):
    """A platform that tells which endpoints have changed, so that they need not be read again and again."""

    async def changes(self, since: str = "") -> Changes:
        """Return which endpoints may have changed since a cursor; every one of them for an empty or unknown cursor.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read (retryable).
        """
        ...


@runtime_checkable
class KeepsOpen(Protocol):
    """A platform that holds connections from its first call on."""

    async def close(self) -> None:
        """End them."""
        ...


@dataclass(frozen=True)
class Remark:
    """What a region says of a start that is only planned; `level` is a finding's: `deny`, `warn` or `info`."""

    code: str
    level: str
    message: str


@runtime_checkable
class ForeseesStarts(Protocol):
    """A platform that says beforehand how it would run a release, and what of it it could not."""

    async def foresee(self, endpoint: Address, release: Release) -> tuple[Remark, ...]:
        """Return what a plan should say of starting a release there.

        Raises:
            SluiceError: `PLAT-001` the region cannot be read (retryable).
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


CAPABILITIES = (
    CountsTraffic,
    CountsByStart,
    CollectsCounts,
    KeepsReplicas,
    BorrowsScalers,
    Adopts,
    TellsChanges,
    ForeseesStarts,
    LoadsAdapters,
    Mirrors,
)


def capabilities(platform: object) -> frozenset[type]:
    """Return what a platform can beyond the least, as types: a planner asks these and never the platform itself."""
    return frozenset(kind for kind in CAPABILITIES if isinstance(platform, kind))
