"""Capacity as it was measured: what one replica of an endpoint carries, and what its declared bounds carry. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from environments.names import Address, parse_address
from environments.spec import EnvironmentSpec
from reconciler.core.canonical import Json
from reconciler.core.model.desired import DesiredState


@dataclass(frozen=True)
class Measurement:
    """What one search found: requests a second that `replicas` replicas carried together, 0 when no rate kept the SLO.

    `release` is the id of what was loaded; `at` is RFC 3339 in UTC.
    """

    rate_rps: float
    replicas: int
    release: str
    at: str


@dataclass(frozen=True)
class MeasuredCapacity:
    """One endpoint in one region: the highest rate in requests a second at which a replica kept the SLO, 0 for none.

    `release` is what was measured and may differ from `planned`. A record of the past: no digest covers it, and
    nothing is decided by it.
    """

    address: str
    measured_rps: float
    release: str
    planned: str
    measured_at: str
    replicas_min: int
    replicas_max: int

    @property
    def carries_rps(self) -> tuple[float, float]:
        """Return what the fewest and the most replicas carry, taking each for as good as the one measured."""
        return round(self.measured_rps * self.replicas_min, 3), round(self.measured_rps * self.replicas_max, 3)


def measured_capacity(
    spec: EnvironmentSpec, desired: DesiredState, measured: Mapping[Address, Measurement]
) -> tuple[MeasuredCapacity, ...]:
    """Return the capacity of every desired endpoint that was measured, sorted by address; others are left out."""
    found = []
    for each in desired.endpoints:
        past = measured.get(each.address)
        if past is None:
            continue
        replicas = spec.endpoints[each.address.endpoint].replicas
        rate_rps = round(past.rate_rps / past.replicas, 3)
        found.append(
            MeasuredCapacity(
                address=str(each.address),
                measured_rps=rate_rps,
                release=past.release,
                planned=each.release.id,
                measured_at=past.at,
                replicas_min=replicas.min,
                replicas_max=replicas.max,
            )
        )
    return tuple(found)


def rates_of(measured: Iterable[MeasuredCapacity]) -> dict[Address, float]:
    """Return what the fewest replicas carry by address, where any rate kept the SLO."""
    return {parse_address(each.address): each.carries_rps[0] for each in measured if each.carries_rps[0] > 0}


def measured_to_json(found: MeasuredCapacity) -> Json:
    """Return one line of the plan's `capacity`; its `address` tells it from the lines of pools, which have none."""
    return {**vars(found), "carries_rps": list(found.carries_rps)}


def measured_from_json(data: Json) -> MeasuredCapacity:
    """Return what `measured_to_json` wrote."""
    return MeasuredCapacity(**{key: value for key, value in data.items() if key != "carries_rps"})
