"""What is live: every slot, every weight, every prompt split, as read from the platforms. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from environments.names import Address
from reconciler.core.canonical import Json, digest
from reconciler.core.model.release import Release


class ServerState(StrEnum):
    """What one server of a slot does.

    STARTING has not answered since its process started, SILENT has and does not now, RESTARTING comes back by itself.
    DEAD comes back only by another start; of WRONG_MODEL waiting will not help.
    """

    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DEAD = "dead"
    WRONG_MODEL = "wrong_model"


RUNNING = (ServerState.STARTING, ServerState.READY, ServerState.SILENT, ServerState.RESTARTING, ServerState.WRONG_MODEL)


@dataclass(frozen=True)
class Replica:
    """One server of a slot: a process, a pod, or a group of pods that hold one copy of the model together.

    `warm` says that its present process was warmed up, `restarts` how often its process ended by itself. `reason` says
    in words why it is not ready. `url` reaches this server alone, where its platform lets anyone. `displaced` says that
    its release is not at fault where it does not answer or is cold: its machine is drained or lost, or it is new and
    stands in the place of one that nobody saw crash.
    """

    name: str
    state: ServerState
    warm: bool = False
    restarts: int = 0
    reason: str | None = None
    url: str | None = None
    displaced: bool = False


@dataclass(frozen=True)
class ObservedSlot:
    """One slot as it is.

    `release` is None for an empty slot. `wanted` is how many servers the platform was told to run, 0 in an empty slot;
    `replicas` are those that are there. `url` reaches the slot past the gateway's weights (gates, warm-up). `damage`
    says in words what is wrong with a slot that serves without a release that anybody knows.
    """

    release: Release | None = None
    replicas: tuple[Replica, ...] = ()
    wanted: int = 0
    weight_pct: float = 0.0
    url: str | None = None
    damage: str | None = None

    @property
    def ready_count(self) -> int:
        """Return how many servers answer for the release."""
        return sum(r.state is ServerState.READY for r in self.replicas)

    @property
    def ready(self) -> bool:
        """Return whether any server answers for the release."""
        return self.ready_count > 0

    @property
    def warm(self) -> bool:
        """Return whether every server that answers was warmed up, and any was."""
        cold = any(r.state is ServerState.READY and not r.warm for r in self.replicas)
        return self.was_warm and not cold

    @property
    def was_warm(self) -> bool:
        """Return whether a server that was warmed up is still the same process."""
        return any(r.warm for r in self.replicas)

    @property
    def crashed(self) -> int:
        """Return how many servers ended by themselves since they were warmed up."""
        return sum(r.restarts > 0 and not r.warm for r in self.replicas)

    @property
    def displaced(self) -> bool:
        """Return whether no server is ready and warm, and for none of them that is the release's fault."""
        kept = any(r.state is ServerState.READY and r.warm for r in self.replicas)
        return bool(self.replicas) and not kept and all(r.displaced for r in self.replicas)

    @property
    def fatal(self) -> bool:
        """Return whether waiting will not help: a server serves another model."""
        return any(r.state is ServerState.WRONG_MODEL for r in self.replicas)

    @property
    def running(self) -> bool:
        """Return whether a server runs or will be back by itself."""
        return any(r.state in RUNNING for r in self.replicas)

    @property
    def started(self) -> bool:
        """Return whether a server's present process was ever ready, so that it is silent rather than still loading."""
        return any(r.state in (ServerState.READY, ServerState.SILENT) for r in self.replicas)

    @property
    def serves(self) -> bool:
        """Return whether the slot can be given traffic: a server runs and has answered since it started."""
        return self.started

    @property
    def restarts(self) -> int:
        """Return how often that server's process ended by itself of which most did."""
        return max((r.restarts for r in self.replicas), default=0)

    @property
    def problem(self) -> str | None:
        """Return in words why the slot is not whole; None when every server that it wants is ready."""
        if self.damage or self.release is None:
            return self.damage
        lame = [r for r in self.replicas if r.state is not ServerState.READY]
        reason = lame[0].reason or f"its server is {lame[0].state}" if lame else None
        if self.wanted <= 1:
            return reason
        few = self.ready_count < self.wanted
        counted = f"{self.ready_count} of {self.wanted} servers are ready"
        return f"{counted}; {lame[0].name}: {reason}" if few and lame else counted if few else None

    @property
    def release_id(self) -> str | None:
        """Return the id of the release in the slot."""
        return self.release.id if self.release else None


def one_server(release: Release, replica: Replica, *, weight_pct: float = 0.0) -> ObservedSlot:
    """Return a slot of a platform that keeps one server in each."""
    return ObservedSlot(release, (replica,), 1, weight_pct, replica.url)


@dataclass(frozen=True)
class ObservedEndpoint:
    """One endpoint in one region. `slots` is keyed by slot name; weights of all slots add up to 100, or all are 0.

    `prompts` is keyed by prompt name: its variants' `(release id, share of users in percent)`, as published.
    `gateway_problem` says why the gateway does not pass traffic; the weights are then what it will do when it is back.
    `pointer_problem` says why `prompts` could not be read. The resolutions are the smallest steps that gateway and flag
    document can hold, so two shares no further apart are the same; 0 is exact.
    """

    address: Address
    slots: Mapping[str, ObservedSlot]
    prompts: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    gateway_problem: str | None = None
    pointer_problem: str | None = None
    weight_resolution_pct: float = 0.0
    prompt_resolution_pct: float = 0.0

    @property
    def weights(self) -> dict[str, float]:
        """Return the traffic weight of every slot in percent."""
        return {name: slot.weight_pct for name, slot in sorted(self.slots.items())}

    @property
    def serving(self) -> str | None:
        """Return the name of the slot with the largest weight, or None when nothing has any."""
        name, slot = max(sorted(self.slots.items()), key=lambda item: item[1].weight_pct, default=("", ObservedSlot()))
        return name if slot.weight_pct > 0 else None

    def slot_of(self, release_id: str) -> str | None:
        """Return the slot that holds a release; of two, the one with more weight."""
        holding = [(s.weight_pct, name) for name, s in sorted(self.slots.items()) if s.release_id == release_id]
        return max(holding)[1] if holding else None


@dataclass(frozen=True)
class ObservedState:
    """All that was read in one pass. `unreachable` maps a region to why it could not be read."""

    endpoints: Mapping[Address, ObservedEndpoint] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return a digest over what is live, without what changes by itself (restart counts, addresses)."""
        return digest([endpoint_facts(self.endpoints[a]) for a in sorted(self.endpoints)])


def endpoint_facts(endpoint: ObservedEndpoint) -> Json:
    """Return what the fingerprint covers for one endpoint; a stale plan is explained by comparing two of these."""
    return {
        "address": str(endpoint.address),
        "slots": {
            name: {"release": s.release_id, "weight_pct": s.weight_pct, "ready": s.ready}
            for name, s in sorted(endpoint.slots.items())
        },
        "prompts": {name: [list(v) for v in variants] for name, variants in sorted(endpoint.prompts.items())},
    }
