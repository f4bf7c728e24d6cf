"""The judge's memory of one region between two ticks."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.judge.mixture import BetStates
from reconciler.core.judge.sample_ratio import SampleRatio
from reconciler.core.judge.tables import NO_TABLES, Tables
from reconciler.core.model.verdict import Verdict


@dataclass(frozen=True)
class Decision:
    """A verdict that stands: PASS or FAIL, when, and what it had cost."""

    verdict: Verdict
    decided_at_s: float
    exposed_requests: int


@dataclass(frozen=True)
class JudgeState:
    """Everything the judge remembers; `requests`, `errors` and `rejected` of those that ended, champion first.

    `exposed_requests` are those that the challenger was sent, or has answered where nobody counts beginnings.
    """

    bets: BetStates
    t_s: float | None = None
    first_request_s: float | None = None
    requests: tuple[int, int] = (0, 0)
    errors: tuple[int, int] = (0, 0)
    rejected: tuple[int, int] = (0, 0)
    exposed_requests: int = 0
    tables: Tables = NO_TABLES
    sample_ratio: SampleRatio = field(default_factory=SampleRatio)
    decision: Decision | None = None
