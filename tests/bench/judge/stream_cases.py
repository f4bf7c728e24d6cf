"""Scenarios of single requests: what takes its time, hangs, is refused, is counted elsewhere, or is not counted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reconciler.core.judge import JudgeSettings, Protect
from tests.bench.judge.cases import ROWS, Noise
from tests.bench.judge.counting import simulate_events
from tests.bench.judge.events import SAME, Change, Service
from tests.bench.judge.traffic import FLAT, RAMP, Recording, Schedule

TOKEN_ROWS = (*ROWS, Protect("itl", 1.2))
OFTEN: Schedule = (*((120.0 * k, 5.0 * k) for k in range(1, 11)), (math.inf, 50.0))
"""A weight that rises by 5 % every two minutes."""
BUSY = Service(arm_noise=0.03)


@dataclass(frozen=True)
class StreamCase:
    """One scenario; `peers` runs thresholds and Kayenta beside the judge, on requests as they end."""

    group: str
    name: str
    service: Service
    change: Change
    schedule: Schedule
    runs: int
    rows: tuple[Protect, ...] = TOKEN_ROWS
    peers: bool = False
    duration_s: float = 1800.0
    harmless: bool = False
    noise: Noise = Noise.DEFAULT
    regions: int = 1

    @property
    def equal(self) -> bool:
        """Say whether the challenger is no worse; one that only writes longer answers is `harmless`."""
        return self.harmless or replace(self.change, sick_metrics=False) == SAME

    def recording(self, runs: int, seed: int) -> Recording:
        """Return so many simulated rollouts."""
        return simulate_events(
            self.service, self.change, self.schedule, runs=runs, seed=seed, duration_s=self.duration_s
        )

    def settings(self, sigma: float | None = None) -> JudgeSettings:
        """Return the judge's settings."""
        return JudgeSettings(protect=self.rows, warmup_s=0.0)


@dataclass(frozen=True)
class AtEndCase(StreamCase):
    """One behind a gateway that counts requests as they end and tells how many are open, as a cluster's does."""

    def recording(self, runs: int, seed: int) -> Recording:
        """Return so many simulated rollouts."""
        return simulate_events(
            replace(self.service, by_start=False), self.change, self.schedule,
            runs=runs, seed=seed, duration_s=self.duration_s, open_fail=True,
        )  # fmt: skip


def stream_cases() -> tuple[StreamCase, ...]:
    """Return every scenario of single requests."""
    return (
        *_answers(),
        *_hangs(),
        *_tokens(),
        *_rejections(),
        *_not_split(),
        *_sick(),
        *_replicas(),
        *_users(),
        *_open(),
    )


def _answers() -> tuple[StreamCase, ...]:
    """Return answers that take their time, under weights that rise while they do."""
    group = "answers that take time"
    taking = {answer_s: replace(BUSY, answer_s=answer_s) for answer_s in (1.0, 10.0, 30.0, 60.0, 180.0)}
    nulls = [
        StreamCase(group, f"answers of {answer_s:g} s: equal, weight +5 every 2 min", service, SAME, OFTEN, runs)
        for (answer_s, service), runs in zip(taking.items(), (1000, 1000, 1000, 1000, 3000), strict=True)
    ]
    five = Change(error_ratio=5.0)
    worse = [
        StreamCase(group, f"answers of {answer_s:g} s: errors x5, ramp", taking[answer_s], five, RAMP, 125)
        for answer_s in (1.0, 60.0)
    ]
    at_end = [
        case
        for answer_s in (10.0, 60.0)
        for case in (
            StreamCase(
                group, f"answers of {answer_s:g} s, counted as they end: equal, weight +5 every 2 min",
                replace(taking[answer_s], by_start=False), SAME, OFTEN, 1000, peers=True,
            ),
            StreamCase(
                group, f"answers of {answer_s:g} s, counted as they end: errors x5, ramp",
                replace(taking[answer_s], by_start=False), five, RAMP, 125,
            ),
        )
    ]  # fmt: skip
    return (*nulls, *worse, *at_end)


def _hangs() -> tuple[StreamCase, ...]:
    group = "hangs"
    slow, both = replace(BUSY, answer_s=60.0), replace(BUSY, answer_s=10.0, hanging=0.05)
    longer = Change(longer=2.0)
    hung = [
        StreamCase(
            group, f"answers of {answer_s:g} s: {100 * share:g} % hang", replace(BUSY, answer_s=answer_s),
            Change(hanging=share), FLAT, 125, peers=share < 1 and answer_s == 10.0, duration_s=900.0,
        )
        for share in (1.0, 0.2)
        for answer_s in (1.0, 10.0, 30.0, 60.0)
    ]  # fmt: skip
    twice = StreamCase(
        group, "answers of 60 s: the challenger's twice as long, ramp", slow, longer, RAMP, 3000, ROWS, harmless=True
    )
    return (
        StreamCase(group, "answers of 60 s: equal, ramp", slow, SAME, RAMP, 3000),
        StreamCase(group, "answers of 180 s: equal, ramp", replace(BUSY, answer_s=180.0), SAME, RAMP, 3000),
        twice,
        StreamCase(group, "5 % hang on both: equal, ramp", both, SAME, RAMP, 3000),
        *hung,
    )


def _tokens() -> tuple[StreamCase, ...]:
    group = "inter-token latency"
    long = replace(BUSY, answer_s=10.0, answer_log_sd=1.2)
    found = []
    for counted, service in (("an answer", long), ("a token", replace(long, token_gaps=True))):
        slower = Change(tpot_ratio=1.2)
        found += [
            StreamCase(group, f"lengths of log-sd 1.2, a gap {counted}: equal, ramp", service, SAME, RAMP, 3000),
            StreamCase(group, f"lengths of log-sd 1.2, a gap {counted}: ITL x1.2, ramp", service, slower, RAMP, 125),
        ]
    return tuple(found)


def _rejections() -> tuple[StreamCase, ...]:
    group = "rejections"
    service = replace(BUSY, rejected_rate=0.10)
    four = Change(rejected_ratio=4.0)
    return (
        StreamCase(group, "10 % rejected: equal, weight +5 every 2 min", service, SAME, OFTEN, 1000),
        StreamCase(group, "3 % rejected: x4, ramp", BUSY, four, RAMP, 125),
        StreamCase(group, "10 % rejected: errors x2, flat", service, Change(error_ratio=2.0), FLAT, 125),
    )


def _not_split() -> tuple[StreamCase, ...]:
    """Return traffic that is no part of the split: lists of models, and requests that name their slot in a header."""
    group = "other traffic"
    lists, pinned = replace(BUSY, other_per_s=10.0), replace(BUSY, pinned_per_s=5.0)
    tokens = replace(lists, token_gaps=True)
    return (
        StreamCase(group, "10/s of GET /v1/models: equal, ramp", tokens, SAME, RAMP, 1000),
        StreamCase(group, "5/s pinned to the challenger: equal, ramp", pinned, SAME, RAMP, 1000),
        StreamCase(
            group, "5/s pinned to the challenger, of longer prompts (TTFT x2): equal, ramp",
            replace(pinned, pinned_ttft_ratio=2.0), SAME, RAMP, 3000,
        ),
        StreamCase(group, "5/s pinned to the challenger: TTFT x1.2, ramp", pinned, Change(ttft_ratio=1.2), RAMP, 125),
    )  # fmt: skip


def _sick() -> tuple[StreamCase, ...]:
    """Return servers whose metrics cannot be read, most of all when they fail."""
    group = "metrics that fail"
    half, sick = replace(BUSY, blind=0.5), Change(sick_metrics=True)
    five = Change(error_ratio=5.0, sick_metrics=True)
    return (
        StreamCase(group, "half of the reads fail: equal, ramp", half, SAME, RAMP, 1000),
        StreamCase(group, "unreadable in each tick with an error: equal, ramp", BUSY, sick, RAMP, 1000),
        StreamCase(group, "unreadable in each tick with an error: errors x5, flat", BUSY, five, FLAT, 125),
    )


def _replicas() -> tuple[StreamCase, ...]:
    group = "replicas that come and go"
    restless = replace(BUSY, replicas=(4, 3), churn_per_s=1.0 / 120.0)
    slower = Change(ttft_ratio=1.2)
    return (
        StreamCase(group, "4 and 3 replicas, each gone every 2 min: equal, ramp", restless, SAME, RAMP, 1000),
        StreamCase(group, "4 and 3 replicas, each gone every 2 min: TTFT x1.2, ramp", restless, slower, RAMP, 125),
    )


def _users() -> tuple[StreamCase, ...]:
    """Return sticky users of Zipf-like weight: the first of 2,000 sends an eighth of all requests."""
    group = "sticky users"
    sticky = replace(BUSY, users=2000)
    own = replace(sticky, user_log_sd=0.5)
    five = Change(error_ratio=5.0)
    return (
        StreamCase(group, "2,000 of unequal weight: equal, ramp", sticky, SAME, RAMP, 1000, peers=True),
        StreamCase(group, "2,000 who also fail unequally (log-sd 0.5): equal, ramp", own, SAME, RAMP, 300, peers=True),
        StreamCase(group, "2,000 of unequal weight: errors x5, flat", sticky, five, FLAT, 125),
    )


def _open() -> tuple[StreamCase, ...]:
    group, told = "open requests", "counted at their end"
    ten, sixty = replace(BUSY, answer_s=10.0), replace(BUSY, answer_s=60.0)
    both = replace(ten, hanging=0.05)
    nulls = (("answers of 10 s", ten), ("answers of 60 s", sixty), ("5 % hang on both", both))
    hung = [
        AtEndCase(
            group, f"{told}, answers of {service.answer_s:g} s: {100 * share:g} % hang", service,
            Change(hanging=share), FLAT, 125, duration_s=900.0,
        )
        for share in (1.0, 0.2)
        for service in (ten, sixty)
    ]  # fmt: skip
    equal = [AtEndCase(group, f"{told}, {name}: equal, ramp", each, SAME, RAMP, 3000) for name, each in nulls]
    return (*equal, *hung)
