"""What the judge says of recorded traffic, to the last figure: `replays.json`, made anew with `SLUICE_GOLDEN=write`.

Every stream is made by arithmetic, without drawing anything, so that it is the same on every machine.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.judge import (
    ArmCounts,
    Fates,
    Judgement,
    JudgeSettings,
    JudgeState,
    Protect,
    StartWindow,
    Tick,
    answered_within_s,
    judge,
    judge_region,
    leaning,
    learn,
    observe,
    observe_region,
    start,
    start_rollout,
    state_from_json,
    state_to_json,
)

GOLDEN = Path(__file__).with_name("replays.json")
BOUNDS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
ERRORS_AND_TTFT = (Protect("error_rate", 2.0), Protect("ttft", 1.2))


LONG = (*BOUNDS, 10.0, 30.0, 60.0, 120.0, 240.0)


def spread(
    count: int, median_s: float, k: int, *, sd: float = 0.5, bounds: tuple[float, ...] = BOUNDS
) -> dict[str, float]:
    """Return a histogram of so many times around a median, lognormal; `k` shifts it a little from tick to tick."""

    def below(bound: float) -> int:
        z = math.log(bound / (median_s * (1.0 + 0.1 * math.sin(k)))) / sd
        return round(count * 0.5 * (1.0 + math.erf(z / math.sqrt(2.0))))

    return {**{repr(bound): below(bound) for bound in bounds}, "+Inf": count}


def arm(
    requests: int, k: int, *, bad: float = 0.01, median_s: float = 0.3, rejected: float = 0.0, **more: Any
) -> ArmCounts:
    """Return one arm's counts of tick `k`: every hundredth request fails, in turn, unless said otherwise."""

    def share(rate: float) -> int:
        return math.floor(rate * requests * (k + 1)) - math.floor(rate * requests * k)

    failed = share(bad)
    fine = requests - failed
    return ArmCounts(requests, failed, spread(fine, median_s, k), rejected=min(share(rejected), fine), **more)


def stream(count: int, weight_pct: float = 10.0, **challenger: Any) -> Iterator[Tick]:
    """Return ticks of 200 requests; the figures are the challenger's."""
    for k in range(1, count + 1):
        mine = round(2 * weight_pct)
        yield Tick(10.0 * k, weight_pct, arm(200 - mine, k), arm(mine, k, **challenger))


def with_tokens(count: int, gap_s: float, answer_s: float = 1.0) -> Iterator[Tick]:
    """Return ticks whose answers have fifty tokens each; the challenger's come at this pace.

    The weight rises after twelve ticks, so that what began under the old one is still to end where answers take long.
    """
    for k in range(1, count + 1):
        weight = 20.0 if k <= 12 else 25.0
        mine = round(2 * weight)
        champion, challenger = (
            ArmCounts(
                n,
                0,
                spread(n, 0.3, k),
                spread(50 * n, pace, k),
                answers=n,
                answer_s=spread(n, answer_s, k, bounds=LONG),
            )
            for n, pace in ((200 - mine, 0.03), (mine, gap_s))
        )
        yield Tick(10.0 * k, weight, champion, challenger)


def by_start(count: int, *, hangs: float = 0.0, bad: float = 0.0, ramp: bool = False) -> Iterator[Tick]:
    """Return ticks that follow requests by their start: two thirds end in their window, the rest in the next one."""

    def fates(begun: int, age: int, lost: float, failed: float) -> Fates:
        ending = begun - round(lost * begun)
        ended = round(ending * (2 / 3)) if age == 0 else ending
        return Fates(begun, ended, errors=round(failed * ended), rejected=round(0.1 * (ended - round(failed * ended))))

    for k in range(1, count + 1):
        windows = []
        for age in (1, 0):
            at = k - 1 - age
            if at >= 0:
                weight = 30.0 if ramp and at >= 12 else 10.0
                mine = round(2 * weight)
                champion, challenger = fates(200 - mine, age, 0.0, 0.0), fates(mine, age, hangs, bad)
                windows.append(StartWindow(10.0 * at, 10.0, weight, champion, challenger, weights=f"w{weight:g}"))
        weight = windows[-1].weight_pct
        mine = round(2 * weight)
        sides = (
            arm(200 - mine, k, bad=0.0, answer_s=spread(200, 1.0, k)),
            arm(mine, k, bad=bad, answer_s=spread(mine, 1.0, k)),
        )
        yield Tick(10.0 * k, weight, *sides, since_s=120.0 if weight == 30.0 else 0.0, cohorts=tuple(windows))


def torn() -> Iterator[Tick]:
    """Return ticks whose histograms lose a bucket half-way, after which one arm has none at all."""
    for tick in stream(12):
        if tick.t_s <= 60:
            yield tick
            continue
        kept = {le: n for le, n in tick.challenger.ttft_s.items() if le != "0.5"} if tick.t_s < 110 else {}
        yield Tick(tick.t_s, 10.0, tick.champion, ArmCounts(20, 0, kept))


def outage() -> Iterator[Tick]:
    """Return ticks of which three in the middle fail for both."""
    for k in range(1, 41):
        bad = 0.4 if 20 <= k < 23 else 0.01
        yield Tick(10.0 * k, 10.0, arm(180, k, bad=bad), arm(20, k, bad=bad))


def starved() -> Iterator[Tick]:
    """Return ticks in which the challenger gets a third of its weight."""
    for k in range(1, 31):
        yield Tick(10.0 * k, 30.0, arm(180, k), arm(20, k))


SETTINGS = JudgeSettings(protect=ERRORS_AND_TTFT)
EXACT = JudgeSettings(protect=ERRORS_AND_TTFT, noise=0.0, warmup_s=0.0)
STREAMS: dict[str, tuple[JudgeSettings, Callable[[], Iterator[Tick]]]] = {
    "nothing": (SETTINGS, lambda: iter(())),
    "warming up": (SETTINGS, lambda: stream(4)),
    "undecided": (SETTINGS, lambda: stream(25)),
    "equal": (SETTINGS, lambda: stream(150, 50.0)),
    "slow": (SETTINGS, lambda: stream(90, median_s=0.42)),
    "a little slow": (SETTINGS, lambda: stream(60, median_s=0.33)),
    "failing": (SETTINGS, lambda: stream(60, bad=0.08)),
    "failing outright": (SETTINGS, lambda: stream(12, bad=0.9)),
    "failing a little": (SETTINGS, lambda: stream(40, bad=0.015)),
    "better": (JudgeSettings(protect=ERRORS_AND_TTFT, slo_error_rate=0.05), lambda: stream(80, 50.0, bad=0.0)),
    "rejecting": (SETTINGS, lambda: stream(40, rejected=0.12)),
    "without noise": (EXACT, lambda: stream(40, median_s=0.33)),
    "much noise": (JudgeSettings(protect=ERRORS_AND_TTFT, noise=0.2), lambda: stream(40, median_s=0.33)),
    "starved": (SETTINGS, starved),
    "an outage of both": (SETTINGS, outage),
    "torn": (SETTINGS, torn),
    "tails": (JudgeSettings(protect=(Protect("ttft", 1.5, share=0.1),)), lambda: stream(60, 50.0, median_s=0.36)),
    "tokens": (JudgeSettings(), lambda: with_tokens(40, 0.03)),
    "slow tokens": (JudgeSettings(), lambda: with_tokens(40, 0.04)),
    "tokens of slow answers": (JudgeSettings(), lambda: with_tokens(24, 0.04, 15.0)),
    "tokens a request": (JudgeSettings(tokens_per_request=50.0), lambda: with_tokens(20, 0.04)),
    "by start": (SETTINGS, lambda: by_start(40)),
    "by start, failing": (SETTINGS, lambda: by_start(30, bad=0.1)),
    "by start, hanging": (SETTINGS, lambda: by_start(30, hangs=0.5)),
    "by start, over a ramp": (SETTINGS, lambda: by_start(30, hangs=0.05, ramp=True)),
}  # fmt: skip


LEARNED = [0.062164, 0.037887, 0.079330, 0.056599, 0.043312, 0.067313]
"""Sigma, low and high of one release in both arms, then of two."""
REGIONS: dict[str, dict[str, Callable[[], Iterator[Tick]]]] = {
    "regions: one fails": {"us": lambda: stream(20), "eu": lambda: stream(20, bad=0.08)},
    "regions: both fail a little": {"eu": lambda: stream(40, bad=0.02), "us": lambda: stream(40, bad=0.02)},
    "regions: one passes": {"eu": lambda: stream(60, 50.0), "us": lambda: stream(20)},
}


def states(name: str) -> Iterator[JudgeState]:
    """Return the judge's state after every tick of a stream, taken through its JSON half-way."""
    settings, ticks = STREAMS[name]
    state = start(settings)
    yield state
    for k, tick in enumerate(ticks()):
        state = observe(state, tick, settings)
        if k == 7:
            state = state_from_json(json.loads(json.dumps(state_to_json(state))))
        yield state


def told(name: str) -> dict[str, Any]:
    """Return what is said in the middle and at the end of a stream, JSON-able."""
    settings, known = STREAMS[name][0], list(states(name))
    return {
        at: spelled(judge(state, settings)) | {"answered_within_s": answered_within_s(state)}
        for at, state in (("middle", known[len(known) // 2]), ("end", known[-1]))
    }


def spelled(found: Judgement) -> dict[str, Any]:
    """Return a judgement, JSON-able."""
    return {
        "verdict": str(found.verdict),
        "sentence": found.sentence,
        "exposed_requests": found.exposed_requests,
        "decided_at_s": found.decided_at_s,
        "evidence": found.evidence,
    }


def told_of_regions(name: str) -> dict[str, Any]:
    """Return what is said in each region when the ticks of all are over, and whether the evidence leaned before."""
    streams = {region: list(make()) for region, make in REGIONS[name].items()}
    state, leant = start_rollout(streams, SETTINGS), 0
    for k in range(max(map(len, streams.values()))):
        for region, ticks in streams.items():
            if k < len(ticks):
                state = observe_region(state, region, ticks[k], SETTINGS)
                leant += leaning(state, SETTINGS)
    return {region: spelled(judge_region(state, region, SETTINGS)) for region in streams} | {"leant": leant}


def rounded(value: Any) -> Any:
    """Return the same with figures that may differ in their last digits made comparable."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return pytest.approx(value, rel=1e-5, abs=1e-5) if isinstance(value, float) else value


@pytest.mark.parametrize("name", [*STREAMS, *REGIONS])
def test_what_is_said_of_a_stream(name: str) -> None:
    said = told_of_regions(name) if name in REGIONS else told(name)
    if os.environ.get("SLUICE_GOLDEN") == "write":
        kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        GOLDEN.write_text(
            json.dumps({key: kept.get(key) for key in (*STREAMS, *REGIONS)} | {name: said}, indent=1) + "\n"
        )
    assert said == rounded(json.loads(GOLDEN.read_text())[name])


def test_noise_is_learned_to_the_last_figure() -> None:
    """Every minute the challenger's times wander by up to a tenth, around a twentieth more than the champion's."""
    ticks = [
        Tick(10.0 * k, 50.0, arm(100, k), arm(100, k, median_s=0.315 * (1.0 + 0.1 * math.sin(3.0 * math.ceil(k / 6)))))
        for k in range(1, 73)
    ]
    one, other = learn(ticks), learn(ticks, same_release=False)
    assert (one.blocks, other.blocks) == (12, 12)
    assert [one.sigma, one.low, one.high, other.sigma, other.low, other.high] == pytest.approx(LEARNED, rel=1e-4)
    assert one.assumed == pytest.approx(1.15 * one.sigma)


def test_every_verdict_is_among_them() -> None:
    kept = json.loads(GOLDEN.read_text())
    assert list(kept) == [*STREAMS, *REGIONS]
    assert {kept[name]["end"]["verdict"] for name in STREAMS} == {"PASS", "FAIL", "INCONCLUSIVE", "ERROR"}
