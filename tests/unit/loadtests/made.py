"""Makes load runs without a network, for the tests of figures and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from loadtests.compare import Rounds
from loadtests.engine import LoadRun
from loadtests.figures import Comparison
from loadtests.profile import Compare, Poisson, Profile, Slo
from loadtests.stream import Outcome, Stream
from loadtests.target import Target

Kind = Literal["completed", "aborted", "given_up"]
TARGETS = tuple(
    Target(name, "http", "127.0.0.1", 8000 + i, "", "m") for i, name in enumerate(("champion", "challenger"))
)


def profile(**changes: Any) -> Profile:
    base: dict[str, Any] = {
        "profile": "made",
        "arrivals": Poisson(kind="poisson", rate_rps=10.0),
        "duration_s": 60.0,
        "slo": Slo(ttft_p95_ms=200.0, error_rate=0.05),
        "compare": Compare(metrics=["ttft_p50", "ttft_p95", "error_rate"]),
    }
    return Profile(**(base | changes))


def stream(
    number: int,
    *,
    at: float,
    ttft_s: float = 0.05,
    gaps_s: Sequence[float] = (0.01,) * 4,
    outcome: Outcome = Outcome.OK,
) -> Stream:
    """Return a finished request; a timeout has waited 5 s and seen nothing."""
    made = Stream(arm=0, session=number, turn=0, at=at, wire=b"", output_tokens=len(gaps_s) + 1)
    made.started = at
    made.outcome, made.detail = outcome, "" if outcome is Outcome.OK else "made to fail"
    if outcome is Outcome.TIMEOUT:
        made.end = at + 5.0
    elif outcome is Outcome.OK:
        made.times.extend(at + ttft_s + float(sum(gaps_s[:i])) for i in range(len(gaps_s) + 1))
        made.end = made.times[-1]
    else:
        made.end = at + 0.001
    return made


def run_of(
    *arms: Sequence[Stream],
    shape: Profile | None = None,
    outcome: Kind = "completed",
    code: str | None = None,
    reason: str = "",
    lag_s: float = 0.0001,
) -> LoadRun:
    """Return a run whose second 0 is at clock 100."""
    return LoadRun(
        profile=shape or profile(),
        targets=TARGETS[-len(arms) :],
        arms=tuple(tuple(arm) for arm in arms),
        outcome=outcome,
        code=code,
        reason=reason,
        began=100.0,
        ended=160.0,
        lags_s=(lag_s,) * 100,
        in_flight_max=tuple(3 for _ in arms),
        cut=False,
    )


def late(streams: Sequence[Stream], seconds: Sequence[int], *, by_s: float, slower: float = 1.0) -> list[Stream]:
    """Return the requests as a generator sends them that is late in these seconds, and times them `slower` there."""
    for one in streams:
        if int(one.at - 100.0) in seconds:
            one.started = one.at + by_s
            for index, moment in enumerate(one.times):
                one.times[index] = one.at + (moment - one.at) * slower
    return list(streams)


def drawn(
    count: int, *, factor: float = 1.0, seed: int = 1, fail: Callable[[int], bool] = lambda i: False
) -> list[Stream]:
    """Return requests with lognormal TTFT around 50 ms times `factor`; the same seed gives the same shared weather."""
    weather = np.random.default_rng(7).normal(0.0, 0.2, count)
    own = np.random.default_rng(seed).normal(0.0, 0.02, count)
    return [
        stream(
            i,
            at=100.0 + i * 0.1,
            ttft_s=0.05 * factor * float(np.exp(weather[i] + own[i])),
            outcome=Outcome.HTTP_STATUS if fail(i) else Outcome.OK,
        )
        for i in range(count)
    ]


def comparison(*arms: Sequence[Stream], alpha: float = 0.05, **kind: Any) -> Comparison:
    """Return the comparison of one round: champion and challenger, or the challenger alone."""
    rounds = Rounds()
    rounds.add(run_of(*arms, **kind))
    return rounds.figures(kind.get("shape") or profile(), alpha)


def comparison_of_rounds(rounds: Sequence[Sequence[Sequence[Stream]]], alpha: float = 0.05) -> Comparison:
    """Return the comparison of several rounds, each of which is a sequence of arms."""
    known = Rounds()
    for arms in rounds:
        known.add(run_of(*arms))
    return known.figures(profile(), alpha)
