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
    r"^envoy_cluster_endpoint_rq_(?P<what>success|error)\{(?P<labels>[^}]*)\} (?P<value>[0-9.e+]+)", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, order=True)
class Place:
    """Where something was counted: in which proxy, of which pod's address."""

    proxy: str
    address: str


@dataclass(frozen=True)
class Counted:
    """What one proxy counted for one address since either began."""

    requests: int = 0
    errors: int = 0


Readings = Mapping[Place, Counted]


class Stats(Protocol):
    """Reads what the gateway's proxies count."""

    async def read(self, namespace: str, endpoint: str) -> Readings:
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
        place = Place(proxy, labels.get("envoy_endpoint_address", "").rpartition(":")[0])
        known, value = found.get(place, Counted()), int(float(match["value"]))
        failed = value if match["what"] == "error" else 0
        found[place] = Counted(known.requests + value, known.errors + failed)
    return found


class Totals:
    """Sums what proxies count for addresses, by slot, while proxies and pods come and go: a sum only grows.

    What was counted before the first look is left out. A pair of proxy and address that appears later began at zero
    after it, and one whose counters fall began again.
    """

    def __init__(self) -> None:
        self._epoch = f"sluice-{time.time_ns()}"
        self._last: dict[str, dict[Place, Counted]] = {}
        self._sums: dict[tuple[str, str], Counted] = {}

    def take(self, endpoint: str, slots: Mapping[str, str], readings: Readings) -> dict[str, SlotCounts]:
        """Return the sums by slot after a reading; `slots` gives the slot of each pod's address."""
        first = endpoint not in self._last
        last = self._last.setdefault(endpoint, {})
        for place, counted in readings.items():
            slot, before = slots.get(place.address), last.get(place, Counted())
            last[place] = counted
            if slot in SLOTS and not first:
                known = self._sums.get((endpoint, str(slot)), Counted())
                self._sums[endpoint, str(slot)] = _grown(known, before, counted)
        return {slot: self._counts(endpoint, slot) for slot in SLOTS}

    def _counts(self, endpoint: str, slot: str) -> SlotCounts:
        known = self._sums.get((endpoint, slot), Counted())
        return SlotCounts(known.requests, known.errors, epoch=self._epoch)


def _grown(known: Counted, before: Counted, now: Counted) -> Counted:
    """Return a sum with what was counted between two readings; counters that fell began again."""
    again = now.requests < before.requests or now.errors < before.errors
    start = Counted() if again else before
    return Counted(known.requests + now.requests - start.requests, known.errors + now.errors - start.errors)


def merged(readings: Iterable[Readings]) -> dict[Place, Counted]:
    """Return the readings of several proxies as one."""
    return {place: counted for each in readings for place, counted in each.items()}
