"""Ticks as JSON lines, and what makes one impossible."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from environments.errors import SluiceError, nearest
from reconciler.core.judge.ticks import NOTHING, ArmCounts, Fates, Histogram, StartWindow, Tick

_ARM_KEYS = ("requests", "errors", "rejected", "answers", "ttft_s", "itl_s", "answer_s")
_NEEDED_KEYS = ("t_s", "weight_pct", "champion", "challenger")
_TICK_KEYS = (*_NEEDED_KEYS, "since_s", "cohorts")
_WINDOW_KEYS = ("began_s", "window_s", "weight_pct", "champion", "challenger")


def tick_from_json(record: object, where: str = "tick") -> Tick:
    """Return the tick that one JSON line holds.

    Raises: JUDGE-001 for a wrong shape, JUDGE-002 for counts that cannot be, JUDGE-003 for a broken histogram.
    """
    tick = _mapping(record, where, _TICK_KEYS, required=_NEEDED_KEYS)
    since_s = tick.get("since_s")
    return Tick(
        _number(tick["t_s"], f"{where}.t_s"),
        _weight(tick["weight_pct"], f"{where}.weight_pct"),
        _arm(tick["champion"], f"{where}.champion"),
        _arm(tick["challenger"], f"{where}.challenger"),
        None if since_s is None else _finite(since_s, f"{where}.since_s"),
        _windows(tick.get("cohorts"), f"{where}.cohorts"),
    )


def tick_to_json(tick: Tick) -> dict[str, Any]:
    """Return the tick as SPEC's JSON object; the inverse of `tick_from_json`."""
    arms = {"champion": _arm_to_json(tick.champion), "challenger": _arm_to_json(tick.challenger)}
    record: dict[str, Any] = {"t_s": tick.t_s, "weight_pct": tick.weight_pct, **arms}
    if tick.since_s is not None:
        record["since_s"] = tick.since_s
    if tick.cohorts is not None:
        record["cohorts"] = [_window_to_json(window) for window in tick.cohorts]
    return record


def check_tick(tick: Tick, where: str = "tick") -> Tick:
    """Return `tick` when its counts are possible; a tick built in code gets the checks that a JSON line gets.

    Raises: JUDGE-001, JUDGE-002, JUDGE-003 as `tick_from_json`.
    """
    return tick_from_json(tick_to_json(tick), where)


def _weight(value: object, where: str) -> float:
    weight_pct = _number(value, where)
    if weight_pct > 100:
        raise _impossible(where, f"the weight is {weight_pct:g} %", "a weight lies between 0 and 100")
    return weight_pct


def _arm_to_json(arm: ArmCounts) -> dict[str, Any]:
    record: dict[str, Any] = {"requests": arm.requests, "errors": arm.errors}
    if arm.rejected:
        record["rejected"] = arm.rejected
    if arm.answers is not None:
        record["answers"] = arm.answers
    record |= {name: dict(getattr(arm, name)) for name in ("ttft_s", "itl_s", "answer_s") if getattr(arm, name)}
    return record


def _arm(record: object, where: str) -> ArmCounts:
    arm = _mapping(record, where, _ARM_KEYS, required=("requests", "errors"))
    requests = _count(arm["requests"], f"{where}.requests")
    errors = _count(arm["errors"], f"{where}.errors")
    rejected = _count(arm.get("rejected", 0), f"{where}.rejected")
    if errors + rejected > requests:
        told = f"{errors} errors in {requests} requests" if not rejected else f"{errors} errors and {rejected} rejected"
        raise _impossible(where, told, f"each is one of the {requests} requests")
    answers = None if arm.get("answers") is None else _count(arm["answers"], f"{where}.answers")
    ttft, itl, answer = (_histogram(arm.get(name), f"{where}.{name}") for name in ("ttft_s", "itl_s", "answer_s"))
    return ArmCounts(requests, errors, ttft, itl, rejected, answers, answer)


def _window_to_json(window: StartWindow) -> dict[str, Any]:
    sides = {"champion": list(window.champion), "challenger": list(window.challenger)}
    record = {name: getattr(window, name) for name in ("began_s", "window_s", "weight_pct")} | sides
    return record | ({"weights": window.weights} if window.weights else {})


def _windows(record: object, where: str) -> tuple[StartWindow, ...] | None:
    if record is None:
        return None
    if not isinstance(record, list | tuple):
        raise _shape(where, f"expected a list, got {type(record).__name__}", "write [{…}, {…}]")
    return tuple(_window(window, f"{where}[{index}]") for index, window in enumerate(record))


def _window(record: object, where: str) -> StartWindow:
    window = _mapping(record, where, (*_WINDOW_KEYS, "weights"), required=_WINDOW_KEYS)
    window_s = _number(window["window_s"], f"{where}.window_s")
    if window_s <= 0:
        raise _impossible(f"{where}.window_s", f"the window lasts {window_s:g} s", "a window lasts longer than 0 s")
    return StartWindow(
        _finite(window["began_s"], f"{where}.began_s"),
        window_s,
        _weight(window["weight_pct"], f"{where}.weight_pct"),
        _fates(window["champion"], f"{where}.champion"),
        _fates(window["challenger"], f"{where}.challenger"),
        _text(window.get("weights", ""), f"{where}.weights"),
    )


def _fates(record: object, where: str) -> Fates:
    if not isinstance(record, list | tuple) or len(record) != len(Fates._fields):
        raise _shape(where, f"expected four counts, got {record!r}", "write [begun, ended, errors, rejected]")
    fates = Fates(*(_count(value, where) for value in record))
    if fates.ended > fates.begun or fates.errors + fates.rejected > fates.ended:
        raise _impossible(where, f"the counts are {list(fates)}", "who ended had begun, and who failed has ended")
    return fates


def _histogram(record: object, where: str) -> Histogram:
    if record is None or record == {}:
        return NOTHING
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
        raise _broken(where, f"`{le}` is not a bucket bound", "a bound is a number of seconds or +Inf") from None
    if not bound > 0:
        raise _broken(where, f"`{le}` is not a bucket bound", "a latency bound is above 0 s")
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


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise _shape(where, f"expected a name, got {value!r}", "write the gateway's name for the split")
    return value


def _number(value: object, where: str) -> float:
    number = _finite(value, where)
    if number < 0:
        raise _impossible(where, f"the value is {value}", "a count is not negative; a counter reset shows as a fall")
    return number


def _finite(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _shape(where, f"expected a number, got {value!r}", "write the count as a JSON number")
    if not math.isfinite(value):
        raise _impossible(where, f"the value is {value}", "a count and a time are finite")
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
