"""The judge decides, resumes from its JSON, and keeps its verdict."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from reconciler.core.judge import (
    ArmCounts,
    JudgeSettings,
    Protect,
    Tick,
    judge,
    observe,
    replay,
    start,
    state_from_json,
    state_to_json,
)
from reconciler.core.model.verdict import Verdict

BOUNDS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
SETTINGS = JudgeSettings(protect=(Protect("error_rate", 2.0), Protect("ttft", 1.2)))


def arm(rng: Generator, requests: int, *, error_rate: float = 0.01, slower: float = 1.0) -> ArmCounts:
    """Return one arm's counts of a tick; lognormal time to first token around 300 ms."""
    errors = int(rng.binomial(requests, error_rate))
    seconds = 0.3 * slower * np.exp(0.5 * rng.normal(size=requests - errors))
    buckets = {repr(bound): int((seconds <= bound).sum()) for bound in BOUNDS}
    return ArmCounts(requests, errors, {**buckets, "+Inf": requests - errors})


def ticks(
    seed: int, count: int, *, weight_pct: float = 10, error_rate: float = 0.01, slower: float = 1.0
) -> list[Tick]:
    """Return `count` ticks of 200 requests, the challenger off by the given figures."""
    rng = default_rng(seed)
    challenger = round(2 * weight_pct)
    return [
        Tick(
            10.0 * k,
            weight_pct,
            arm(rng, 200 - challenger),
            arm(rng, challenger, error_rate=error_rate, slower=slower),
        )
        for k in range(1, count + 1)
    ]


def test_a_slow_challenger_is_rolled_back_with_a_sentence() -> None:
    judgement = replay(ticks(1, 180, slower=1.4), SETTINGS)
    assert judgement.verdict is Verdict.FAIL
    assert judgement.sentence.startswith("Roll back: ttft is worse on the challenger")
    assert judgement.exposed_requests == round(judgement.decided_at_s or 0) * 2
    assert judgement.evidence["rollback"] >= judgement.evidence["rollback_limit"]


def test_a_failing_challenger_is_rolled_back_within_a_minute() -> None:
    judgement = replay(ticks(2, 6, error_rate=0.9), SETTINGS)
    assert judgement.verdict is Verdict.FAIL
    assert "error_rate" in judgement.sentence


def test_an_equal_challenger_is_promoted() -> None:
    judgement = replay(ticks(3, 180, weight_pct=50), SETTINGS)
    assert judgement.verdict is Verdict.PASS
    assert all(row["refuted"] for row in judgement.evidence["rows"])


def test_the_verdict_stands_when_later_ticks_disagree() -> None:
    early = ticks(4, 60, slower=2.0)
    once = replay(early, SETTINGS)
    again = replay([*early, *(replace(tick, t_s=tick.t_s + 600) for tick in ticks(5, 60))], SETTINGS)
    assert once.verdict is Verdict.FAIL
    assert again == once


def test_a_judgement_resumes_from_its_json_as_if_nothing_had_happened() -> None:
    settings = JudgeSettings()
    straight = interrupted = start(settings)
    for tick in ticks(6, 40):
        straight = observe(straight, tick, settings)
        interrupted = state_from_json(json.loads(json.dumps(state_to_json(observe(interrupted, tick, settings)))))
        assert state_to_json(interrupted) == state_to_json(straight)
    assert judge(interrupted, settings) == judge(straight, settings)


@pytest.mark.parametrize("count", [0, 3])
def test_no_traffic_is_inconclusive(count: int) -> None:
    nothing = ArmCounts(0, 0)
    judgement = replay([Tick(10.0 * k, 0, nothing, nothing) for k in range(count)], SETTINGS)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "answered no request" in judgement.sentence


def test_a_challenger_that_gets_no_traffic_is_a_routing_fault() -> None:
    rng = default_rng(7)
    starved = [Tick(10.0 * k, 10, arm(rng, 200), ArmCounts(0, 0)) for k in range(1, 20)]
    judgement = replay(starved, SETTINGS)
    assert judgement.verdict is Verdict.ERROR
    assert "weight 10 %" in judgement.sentence
