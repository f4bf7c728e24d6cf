"""Requests and errors of an endpoint's slots, from what the gateway's proxies count for each pod's address. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from environments.names import SLOTS, route_name
from reconciler.ports import SlotCounts

_LINE = re.compile(
    r"^envoy_cluster_endpoint_rq_(?P<what>success|error|total|active)\{(?P<labels>[^}]*)\} (?P<value>[0-9.e+]+)",
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, order=True)
class Place:
    """Where something was counted: in which proxy, of which pod's address."""

    proxy: str
    address: str


@dataclass(frozen=True)
class Counted:
    """What one proxy counted for one address since either began, and how many requests it waits for there now.

    `requests` are counted when their answer begins, `begun` when they are sent.
    """

    requests: int = 0
    errors: int = 0
    active: int = 0
    begun: int = 0

    def __add__(self, other: Counted) -> Counted:
        requests, errors = self.requests + other.requests, self.errors + other.errors
        return Counted(requests, errors, self.active + other.active, self.begun + other.begun)


Readings = Mapping[Place, Counted]


@dataclass(frozen=True)
class Told:
    """A reading of all proxies: how old the oldest part of it is, in seconds, and where to look when that is long."""

    readings: Readings
    age_s: float = 0.0
    look_at: str = ""


class Stats(Protocol):
    """Reads what the gateway's proxies count."""

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return the counters of an endpoint's route, by proxy and address without port."""
        ...


def parse(text: str, proxy: str, namespace: str, endpoint: str) -> dict[Place, Counted]:
    """Return what a proxy's `/stats/prometheus` says of an endpoint's route.

    Envoy Gateway calls the cluster of a rule `httproute/NAMESPACE/NAME/rule/N`. Every rule of the route is counted.
    Requests are those that ended well and those that did not: `rq_total` leaves out those that found nobody listening.
    """
    prefix = f"httproute/{namespace}/{route_name(endpoint)}/rule/"
    found: dict[Place, Counted] = {}
    for match in _LINE.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        if not labels.get("envoy_cluster_name", "").startswith(prefix):
            continue
        place = Place(proxy, address_of(labels))
        found[place] = found.get(place, Counted()) + of_statistic(match["what"], float(match["value"]))
    return found


def address_of(labels: Mapping[str, str]) -> str:
    """Return the address without port that a statistic is about."""
    return labels.get("envoy_endpoint_address", "").rpartition(":")[0]


def of_statistic(what: str, value: float) -> Counted:
    """Return what the statistic `rq_…` of an endpoint says.

    A status below 500 is a success to Envoy: it cannot tell a rejection from an answer, and nobody here does.
    """
    number = int(value)
    match what:
        case "success":
            return Counted(number)
        case "error":
            return Counted(number, number)
        case "total":
            return Counted(begun=number)
        case _:
            return Counted(active=number)


class Totals:
    """Sums what proxies count for addresses, by slot, while proxies and pods come and go: a sum only grows.

    What was counted before the first look is left out. A pair of proxy and address that appears later began at zero
    after it, and one whose counters fall began again.
    """

    def __init__(self) -> None:
        self._epoch = f"sluice-{time.time_ns()}"
        self._last: dict[str, dict[Place, Counted]] = {}
        self._sums: dict[tuple[str, str], Counted] = {}

    def take(self, endpoint: str, slots: Mapping[str, str], told: Told) -> dict[str, SlotCounts]:
        """Return the sums by slot after a reading; `slots` gives the slot of each pod's address.

        What is in flight is told of slots that a proxy has in its configuration: Envoy forgets a server that gets no
        weight, with requests to it that have not ended, and None is not zero.
        """
        first = endpoint not in self._last
        last = self._last.setdefault(endpoint, {})
        for place, counted in told.readings.items():
            slot, before = slots.get(place.address), last.get(place, Counted())
            last[place] = counted
            if slot in SLOTS and not first:
                known = self._sums.get((endpoint, str(slot)), Counted())
                self._sums[endpoint, str(slot)] = _grown(known, before, counted)
        return {slot: self._counts(endpoint, slot, slots, told) for slot in SLOTS}

    def _counts(self, endpoint: str, slot: str, slots: Mapping[str, str], told: Told) -> SlotCounts:
        known = self._sums.get((endpoint, slot), Counted())
        return SlotCounts(
            known.requests,
            known.errors,
            rejected=None,
            epoch=self._epoch,
            begun=known.begun,
            in_flight=_active(slot, slots, told.readings),
            age_s=told.age_s,
            look_at=told.look_at,
        )


def _active(slot: str, slots: Mapping[str, str], readings: Readings) -> int | None:
    """Return how many requests the proxies wait for in a slot, None where they know no server of it."""
    there = [found.active for place, found in readings.items() if slots.get(place.address) == slot]
    return sum(there) if there else None


def _grown(known: Counted, before: Counted, now: Counted) -> Counted:
    """Return a sum with what was counted between two readings; counters that fell began again."""
    again = now.requests < before.requests or now.errors < before.errors or now.begun < before.begun
    start = Counted() if again else before
    return Counted(
        known.requests + now.requests - start.requests,
        known.errors + now.errors - start.errors,
        begun=known.begun + now.begun - start.begun,
    )


def merged(readings: Iterable[Readings]) -> dict[Place, Counted]:
    """Return the readings of several proxies as one."""
    return {place: counted for each in readings for place, counted in each.items()}
