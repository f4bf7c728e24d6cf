"""The judge's memory between two ticks, and its JSON form: a crash resumes mid-judgement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from environments.errors import SluiceError
from reconciler.core.judge.ar1_noise import Belief
from reconciler.core.judge.bets import Array
from reconciler.core.judge.failures import FailureState
from reconciler.core.judge.latency import LatencyState
from reconciler.core.judge.mixture import LATENCIES, BetStates
from reconciler.core.judge.sample_ratio import SampleRatio
from reconciler.core.judge.settings import Metric
from reconciler.core.verdict import Verdict

SCHEMA = "sluice/judge-state/v1"


@dataclass(frozen=True)
class Decision:
    """A verdict that stands: PASS or FAIL, when, and what it had cost."""

    verdict: Verdict
    decided_at_s: float
    exposed_requests: int


@dataclass(frozen=True)
class JudgeState:
    """Everything the judge remembers. `seen` holds each latency's cell counts so far, [2, C], for the sentence."""

    bets: BetStates
    t_s: float | None = None
    first_request_s: float | None = None
    requests: tuple[int, int] = (0, 0)
    errors: tuple[int, int] = (0, 0)
    rejected: tuple[int, int] = (0, 0)
    bounds: dict[Metric, tuple[float, ...]] = field(default_factory=dict)
    seen: dict[Metric, Array] = field(default_factory=dict)
    sample_ratio: SampleRatio = field(default_factory=SampleRatio)
    decision: Decision | None = None

    @property
    def exposed_requests(self) -> int:
        """Return the requests that the challenger has answered."""
        return self.requests[1]


def state_to_json(state: JudgeState) -> dict[str, Any]:
    """Return the state as a JSON object of about 3 kB; equal states give equal objects."""
    decision = state.decision
    return {
        "schema": SCHEMA,
        "t_s": state.t_s,
        "first_request_s": state.first_request_s,
        "requests": list(state.requests),
        "errors": list(state.errors),
        "rejected": list(state.rejected),
        "bounds": {metric: list(bounds) for metric, bounds in sorted(state.bounds.items())},
        "seen": {metric: _plain(table) for metric, table in sorted(state.seen.items())},
        "sample_ratio": asdict(state.sample_ratio),
        "decision": asdict(decision) if decision else None,
        "failures": _bets_to_json(state.bets.failures) if state.bets.failures else None,
        "rejections": _bets_to_json(state.bets.rejections) if state.bets.rejections else None,
        "latency": {metric: _bets_to_json(state) for metric, state in sorted(state.bets.latency.items())},
    }


def state_from_json(record: object) -> JudgeState:
    """Return the state that `state_to_json` wrote.

    Raises: JUDGE-006 when it is another thing or from another version.
    """
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        raise _foreign("it does not say that it is one")
    try:
        return _read(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _foreign(f"{type(error).__name__}: {error}") from error


def _read(record: Mapping[str, Any]) -> JudgeState:
    decision = record["decision"]
    latency = {m: _latency_state(record["latency"][m]) for m in LATENCIES if m in record["latency"]}
    return JudgeState(
        bets=BetStates(_failure_state(record["failures"]), latency, _failure_state(record["rejections"])),
        t_s=record["t_s"],
        first_request_s=record["first_request_s"],
        requests=_pair(record["requests"]),
        errors=_pair(record["errors"]),
        rejected=_pair(record["rejected"]),
        bounds={m: tuple(record["bounds"][m]) for m in LATENCIES if m in record["bounds"]},
        seen={m: np.array(record["seen"][m], dtype=np.float64) for m in LATENCIES if m in record["seen"]},
        sample_ratio=SampleRatio(**record["sample_ratio"]),
        decision=None if decision is None else Decision(**{**decision, "verdict": Verdict(decision["verdict"])}),
    )


def _failure_state(record: Mapping[str, Any] | None) -> FailureState | None:
    return None if record is None else FailureState(**_arrays(record, FailureState))


def _latency_state(record: Mapping[str, Any]) -> LatencyState:
    values: dict[str, Any] = _arrays(record, LatencyState)
    return LatencyState(**values, belief=Belief(**_arrays(record["belief"], Belief)))


def _bets_to_json(state: FailureState | LatencyState | Belief) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for item in fields(state):
        value = getattr(state, item.name)
        record[item.name] = _bets_to_json(value) if isinstance(value, Belief) else _plain(value[0])
    return record


def _arrays(record: Mapping[str, Any], kind: type[Any]) -> dict[str, Array]:
    names = [item.name for item in fields(kind) if item.name != "belief"]
    return {name: np.array([record[name]], dtype=np.float64) for name in names}


def _plain(value: Array) -> Any:
    """Return nested lists; whole numbers without a point, which halves the size."""
    if value.ndim:
        return [_plain(part) for part in value]
    number = float(value)
    return int(number) if number.is_integer() else number


def _pair(value: list[int]) -> tuple[int, int]:
    first, second = value
    return first, second


def _foreign(why: str) -> SluiceError:
    return SluiceError(
        "JUDGE-006", where="judge state", what="this is no judge state of this version", why=why,
        do="replay the recorded ticks to rebuild it",
    )  # fmt: skip
