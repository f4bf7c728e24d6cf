"""The faults of the double: what can go wrong, and which requests it happens to. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

FILE = "double.json"


@dataclasses.dataclass(frozen=True)
class Faults:
    """How the double behaves. `double.json` in the model folder gives the start values, `POST /control` changes them.

    Rates and shares are between 0 and 1 and choose requests by their number, so that a run can be repeated.
    """

    start_s: float = 0.0
    """Seconds before the port is opened."""
    never_ready: bool = False
    """`/health` answers 503 and requests are refused with 503."""
    exit_on_start: bool = False
    """End with exit code 1 instead of opening the port."""
    wrong_model: str | None = None
    """`/v1/models` shows this name, and requests for the right name are answered 404."""
    wrong_root: str | None = None
    """`/v1/models` says that the weights come from this folder."""
    ttft_ms: float = 4.0
    itl_ms: float = 1.0
    jitter: float = 0.1
    """Log-sd of both latencies."""
    tail_share: float = 0.0
    tail_factor: float = 10.0
    """A `tail_share` of the requests has both latencies times this."""
    first: int = 0
    """The number of the first request: another one gives another run of the same faults."""
    error_rate: float = 0.0
    error_status: int = 500
    hang_rate: float = 0.0
    """Such a request is accepted and never answered."""
    held: bool = False
    """Requests that arrive wait, and go on when this is False again."""
    break_rate: float = 0.0
    """The connection of such a request is dropped in the middle of the answer."""
    crash_mid_stream: bool = False
    """The whole process dies in the middle of the next answer, as on SIGKILL."""
    crash_after_requests: int | None = None
    """The whole process dies when request number N + 1 arrives."""
    crash_after_s: float | None = None
    """The whole process dies this long after it opened its port."""

    def changed(self, changes: Mapping[str, Any]) -> Faults:
        """Return these faults with some replaced.

        Raises:
            ValueError: a name is unknown, or a value is of another type than the fault.
        """
        kinds = {field.name: str(field.type) for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in kinds:
                raise ValueError(f"unknown fault {name!r}; known: {', '.join(sorted(kinds))}")
            if not _fits(value, kinds[name]):
                raise ValueError(f"fault {name!r} must be {kinds[name]}, not {value!r}")
        return dataclasses.replace(self, **changes)


def read_faults(model: Path) -> Faults:
    """Return the faults in the model folder's `double.json`, or none when there is no such file."""
    path = model / FILE
    return Faults().changed(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Faults()


def uniform(kind: str, number: int) -> float:
    """Return a number in (0, 1) that looks random and depends on the arguments alone."""
    word = int.from_bytes(hashlib.sha256(f"{kind}:{number}".encode()).digest()[:6], "big")
    return (word + 0.5) / 2**48


@dataclasses.dataclass(frozen=True)
class Fate:
    """What happens to one request. Delays are in seconds."""

    ttft_s: float
    itl_s: float
    fails: bool
    hangs: bool
    breaks: bool
    crashes: bool


def fate_of(faults: Faults, number: int) -> Fate:
    """Return the fate of request `number`, which counts from 0 in this process."""
    stretch = math.exp(faults.jitter * NormalDist().inv_cdf(uniform("jitter", number)))
    if uniform("tail", number) < faults.tail_share:
        stretch *= faults.tail_factor
    return Fate(
        ttft_s=faults.ttft_ms * stretch / 1000,
        itl_s=faults.itl_ms * stretch / 1000,
        fails=uniform("error", number) < faults.error_rate,
        hangs=uniform("hang", number) < faults.hang_rate,
        breaks=uniform("break", number) < faults.break_rate,
        crashes=faults.crash_mid_stream,
    )


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return "None" in kind
    match kind.split(" | ")[0]:
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, str)
