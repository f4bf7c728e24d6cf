"""Ticks: what both arms counted in one interval, and their JSON form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from environments.errors import SluiceError, nearest

Histogram = Mapping[str, float]
_NONE: Histogram = MappingProxyType({})
_ARM_KEYS = ("requests", "errors", "rejected", "ttft_s", "itl_s")
_TICK_KEYS = ("t_s", "weight_pct", "champion", "challenger")


@dataclass(frozen=True)
class ArmCounts:
    """One arm's counts in one tick; histograms are cumulative by upper bound in seconds (`le`), empty if unmeasured.

    `rejected`: requests that were answered with "your request is wrong", which are no errors.
    """

    requests: int
    errors: int
    ttft_s: Histogram = field(default_factory=lambda: _NONE)
    itl_s: Histogram = field(default_factory=lambda: _NONE)
    rejected: int = 0


@dataclass(frozen=True)
class Tick:
    """Both arms' counts in the tick that ended at `t_s`, and the challenger's weight that was asked for (0 to 100)."""

    t_s: float
    weight_pct: float
    champion: ArmCounts
    challenger: ArmCounts


def tick_from_json(record: object, where: str = "tick") -> Tick:
    """Return the tick that one JSON line holds.

    Raises: JUDGE-001 for a wrong shape, JUDGE-002 for counts that cannot be, JUDGE-003 for a broken histogram.
    """
    tick = _mapping(record, where, _TICK_KEYS, required=_TICK_KEYS)
    t_s = _number(tick["t_s"], f"{where}.t_s")
    weight_pct = _number(tick["weight_pct"], f"{where}.weight_pct")
    if weight_pct > 100:
        raise _impossible(f"{where}.weight_pct", f"the weight is {weight_pct:g} %", "a weight lies between 0 and 100")
    return Tick(
        t_s,
        weight_pct,
        _arm(tick["champion"], f"{where}.champion"),
        _arm(tick["challenger"], f"{where}.challenger"),
    )


def tick_to_json(tick: Tick) -> dict[str, Any]:
    """Return the tick as SPEC's JSON object; the inverse of `tick_from_json`."""
    return {
        "t_s": tick.t_s,
        "weight_pct": tick.weight_pct,
        "champion": _arm_to_json(tick.champion),
        "challenger": _arm_to_json(tick.challenger),
    }


def check_tick(tick: Tick, where: str = "tick") -> Tick:
    """Return `tick` when its counts are possible; a tick built in code gets the checks that a JSON line gets.

    Raises: JUDGE-001, JUDGE-002, JUDGE-003 as `tick_from_json`.
    """
    return tick_from_json(tick_to_json(tick), where)


def bounds_of(histogram: Histogram) -> tuple[float, ...]:
    """Return the finite upper bounds in seconds, ascending."""
    return tuple(sorted(bound for bound in map(float, histogram) if math.isfinite(bound)))


def cells(histogram: Histogram, bounds: tuple[float, ...]) -> list[float]:
    """Return the counts between `bounds`, one more than there are bounds; the histogram must hold each of them."""
    by_bound = {float(le): count for le, count in histogram.items()}
    cumulative = [by_bound[bound] for bound in (*bounds, math.inf)]
    return [high - low for low, high in zip([0.0, *cumulative], cumulative, strict=False)]


def _arm_to_json(arm: ArmCounts) -> dict[str, Any]:
    record: dict[str, Any] = {"requests": arm.requests, "errors": arm.errors}
    if arm.rejected:
        record["rejected"] = arm.rejected
    if arm.ttft_s:
        record["ttft_s"] = dict(arm.ttft_s)
    if arm.itl_s:
        record["itl_s"] = dict(arm.itl_s)
    return record


def _arm(record: object, where: str) -> ArmCounts:
    arm = _mapping(record, where, _ARM_KEYS, required=("requests", "errors"))
    requests = _count(arm["requests"], f"{where}.requests")
    errors = _count(arm["errors"], f"{where}.errors")
    rejected = _count(arm.get("rejected", 0), f"{where}.rejected")
    if errors + rejected > requests:
        told = f"{errors} errors in {requests} requests" if not rejected else f"{errors} errors and {rejected} rejected"
        raise _impossible(where, told, f"each is one of the {requests} requests")
    return ArmCounts(
        requests,
        errors,
        _histogram(arm.get("ttft_s"), f"{where}.ttft_s"),
        _histogram(arm.get("itl_s"), f"{where}.itl_s"),
        rejected,
    )


def _histogram(record: object, where: str) -> Histogram:
    if record is None or record == {}:
        return _NONE
    if not isinstance(record, Mapping):
        raise _shape(where, f"expected buckets by `le`, got {type(record).__name__}", 'write {"0.5": 12, "+Inf": 14}')
    counts = {str(le): _number(value, f"{where}[{le}]") for le, value in record.items()}
    bounds = sorted((_bound(le, where), le) for le in counts)
    if len(bounds) < 2 or not math.isinf(bounds[-1][0]) or len({bound for bound, _ in bounds}) < len(bounds):
        raise _broken(where, f"the buckets are {', '.join(counts)}", "it needs distinct bounds and one `+Inf`")
    ordered = {le: counts[le] for _, le in bounds}
    values = list(ordered.values())
    if any(low > high for low, high in itertools.pairwise(values)):
        raise _broken(
            where, "the cumulative counts fall", "a counter was reset inside the tick, or buckets are not cumulative"
        )
    return MappingProxyType(ordered)


def _bound(le: str, where: str) -> float:
    try:
        bound = float(le)
    except ValueError:
        raise _broken(where, f"`{le}` is no bucket bound", "a bound is a number of seconds or +Inf") from None
    if not bound > 0:
        raise _broken(where, f"`{le}` is no bucket bound", "a latency bound is above 0 s")
    return bound


def _mapping(record: object, where: str, known: tuple[str, ...], *, required: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise _shape(where, f"expected an object, got {type(record).__name__}", "see `Judge ticks` in the contract")
    for key in record:
        if key not in known:
            raise _shape(where, f"unknown key `{key}`", f"use a known key: {nearest(str(key), known)}")
    missing = [key for key in required if key not in record]
    if missing:
        raise _shape(
            where, f"missing {', '.join(missing)}", "a tick without them says nothing; write 0 when it was counted as 0"
        )
    return record


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _shape(where, f"expected a number, got {value!r}", "write the count as a JSON number")
    if not math.isfinite(value) or value < 0:
        raise _impossible(
            where, f"the value is {value}", "a count is finite and not negative; a counter reset shows as a fall"
        )
    return value


def _count(value: object, where: str) -> int:
    number = _number(value, where)
    if number != int(number):
        raise _impossible(where, f"the value is {number}", "requests and errors are whole numbers")
    return int(number)


def _shape(where: str, what: str, do: str) -> SluiceError:
    return SluiceError(
        "JUDGE-001", where=where, what=what, why="a tick has a fixed form, so nothing is read as zero", do=do
    )


def _impossible(where: str, what: str, why: str) -> SluiceError:
    return SluiceError("JUDGE-002", where=where, what=what, why=why, do="drop this tick, or fix the collector")


def _broken(where: str, what: str, why: str) -> SluiceError:
    return SluiceError(
        "JUDGE-003", where=where, what=what, why=why, do="drop this tick; the next difference starts afresh"
    )
