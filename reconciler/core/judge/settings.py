"""What the judge is asked to guard, and how sure it has to be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from environments.errors import SluiceError, nearest

Metric = Literal["error_rate", "ttft", "itl"]
METRICS: tuple[Metric, ...] = get_args(Metric)
DEFAULT_NOISE = 0.03
RESERVE = 0.25
"""Log evidence beyond 1/alpha that a rollback needs.

The bets are right at 1/alpha only if their approximations are (saddlepoints, the overshoot of looks, shapes read from
buckets). On the bench three-hour ramps and answers of minutes took 1.0 to 1.3 % where 1 % was promised.
"""


@dataclass(frozen=True)
class Protect:
    """One regression to rule out: `metric` worse by `ratio`, for all requests or for a `share` of them (latencies)."""

    metric: Metric
    ratio: float
    share: float | None = None

    @property
    def name(self) -> str:
        """Return the row in a few words, as sentences and evidence name it."""
        return f"{self.metric} x{self.ratio:g}" + ("" if self.share is None else f" for {100 * self.share:g} %")


DEFAULT_PROTECT = (
    Protect("error_rate", 2.0),
    Protect("ttft", 1.2),
    Protect("ttft", 2.0, 0.10),
    Protect("itl", 1.2),
)


@dataclass(frozen=True)
class JudgeSettings:
    """The numbers behind a verdict; the defaults are those of the contract.

    `alpha`: chance of rolling back a release that is no worse. `beta`: chance of promoting one as bad as a row.
    `noise`: log-sd of the latency noise of one arm's machines, which wanders over `noise_memory_s`.
    `slo_error_rate`: a challenger proven below it needs no comparison. `tokens_per_request`: None measures it.
    """

    alpha: float = 0.01
    beta: float = 0.02
    noise: float = DEFAULT_NOISE
    warmup_s: float = 60.0
    protect: tuple[Protect, ...] = DEFAULT_PROTECT
    tick_s: float = 10.0
    slo_error_rate: float = 0.005
    tokens_per_request: float | None = None
    noise_memory_s: float = 60.0

    @property
    def rollback_limit(self) -> float:
        """Return the log e-value from which on a release is rolled back."""
        return RESERVE - math.log(self.alpha)

    def __post_init__(self) -> None:
        """Refuse numbers that make no test.

        Raises: JUDGE-005.
        """
        _between(self.alpha, "alpha", 0, 0.5)
        _between(self.beta, "beta", 0, 0.5)
        _between(self.slo_error_rate, "slo_error_rate", 0, 1)
        _between(self.tick_s, "tick_s", 0, math.inf)
        _between(self.noise_memory_s, "noise_memory_s", 0, math.inf)
        if self.tokens_per_request is not None:
            _between(self.tokens_per_request, "tokens_per_request", 0, math.inf)
        if not 0 <= self.noise <= 1 or not 0 <= self.warmup_s < math.inf:
            raise _value(
                "noise, warmup_s",
                f"noise {self.noise}, warmup_s {self.warmup_s}",
                "noise is 0 to 1, warmup_s at least 0",
            )
        if not self.protect:
            raise _value(
                "protect", "no row", "without a row there is nothing to rule out, so nothing could be promoted"
            )
        for index, row in enumerate(self.protect):
            _check_row(row, f"protect[{index}]")


def settings_from_mapping(
    block: Mapping[str, Any], *, learned_noise: float | None = None, where: str = "judge"
) -> JudgeSettings:
    """Return the settings of a `judge:` block; absent keys keep their defaults.

    `learned_noise` stands in for `noise: learned` (unlearned: the default).
    Raises: JUDGE-004 for an unknown key or a wrong type, JUDGE-005 for a value out of range.
    """
    _known(block, where, tuple(JudgeSettings.__dataclass_fields__))
    values: dict[str, Any] = {}
    for key, value in block.items():
        match key:
            case "protect":
                values[key] = _rows(value, f"{where}.{key}")
            case "noise" if value == "learned":
                values[key] = DEFAULT_NOISE if learned_noise is None else learned_noise
            case "tokens_per_request" if value is None:
                values[key] = None
            case _:
                values[key] = _number(value, f"{where}.{key}")
    return JudgeSettings(**values)


def _rows(value: object, where: str) -> tuple[Protect, ...]:
    if not isinstance(value, list | tuple):
        raise _type(where, value, "a list of rows")
    return tuple(_row(row, f"{where}[{index}]") for index, row in enumerate(value))


def _row(row: object, where: str) -> Protect:
    if isinstance(row, Protect):
        return row
    if not isinstance(row, Mapping):
        raise _type(where, row, "a row such as {metric: ttft, ratio: 1.2}")
    _known(row, where, ("metric", "ratio", "share"))
    metric = row.get("metric")
    if metric not in METRICS:
        raise SluiceError(
            "JUDGE-004", where=f"{where}.metric", what=f"unknown metric `{metric}`", why="the judge has no bet on it",
            do=f"use a known metric: {nearest(str(metric), METRICS)}",
        )  # fmt: skip
    share = row.get("share")
    return Protect(
        metric, _number(row.get("ratio"), f"{where}.ratio"), None if share is None else _number(share, f"{where}.share")
    )


def _check_row(row: Protect, where: str) -> None:
    if row.metric not in METRICS:
        raise _value(f"{where}.metric", str(row.metric), f"known: {', '.join(METRICS)}")
    if not 1 < row.ratio <= 100:
        raise _value(f"{where}.ratio", str(row.ratio), "a regression is a ratio above 1, at most 100")
    if row.share is not None and (row.metric == "error_rate" or not 0 < row.share < 1):
        raise _value(f"{where}.share", str(row.share), "a share lies between 0 and 1 and belongs to a latency")


def _known(block: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
    for key in block:
        if key not in known:
            raise SluiceError(
                "JUDGE-004", where=where, what=f"unknown key `{key}`", why="an unknown key is never ignored",
                do=f"use a known key: {nearest(str(key), known)}",
            )  # fmt: skip


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _type(where, value, "a number")
    return float(value)


def _between(value: float, key: str, low: float, high: float) -> None:
    if not low < value < high:
        raise _value(key, str(value), f"it lies between {low:g} and {high:g}, both excluded")


def _type(where: str, value: object, expected: str) -> SluiceError:
    return SluiceError(
        "JUDGE-004", where=where, what=f"expected {expected}, got {value!r}", why="a setting has one type",
        do=f"write {expected}",
    )  # fmt: skip


def _value(key: str, value: str, why: str) -> SluiceError:
    return SluiceError(
        "JUDGE-005", where=f"judge.{key}", what=f"{key} is {value}", why=why, do=f"change {key} in the `judge:` block"
    )
