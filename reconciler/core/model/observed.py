"""What is live: every slot, every weight, every prompt split, as read from the platforms. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from environments.names import Address
from reconciler.core.canonical import Json, digest
from reconciler.core.model.release import Release


@dataclass(frozen=True)
class ObservedSlot:
    """One slot as it is.

    `release` is None for an empty slot. `ready` means that the server answers for that release; `started` that its
    present process was ready before, so that it is silent rather than still loading; `warm` that it was warmed up.
    `url` reaches this slot past the gateway's weights (gates, warm-up). `problem` says in words why a slot that should
    be ready is not (crashed, wrong model, starting), or what is wrong with a slot that serves without a release that
    anybody knows; `fatal` says that waiting will not help (it serves another model). `running` is False when nothing
    will bring the server back but another start.
    """

    release: Release | None = None
    ready: bool = False
    warm: bool = False
    weight_pct: float = 0.0
    url: str | None = None
    problem: str | None = None
    fatal: bool = False
    running: bool = True
    restarts: int = 0
    started: bool = False

    @property
    def serves(self) -> bool:
        """Return whether the slot can be given traffic: its server runs and has answered since it started."""
        return self.running and (self.ready or self.started)

    @property
    def release_id(self) -> str | None:
        """Return the id of the release in the slot."""
        return self.release.id if self.release else None


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
