"""A challenger that is many times slower than any bet foresees is rolled back, and a much faster one never is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from reconciler.core.judge import ArmCounts, Judgement, JudgeSettings, Protect, Tick, replay
from reconciler.core.model.verdict import Verdict

BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
QUIET = JudgeSettings(noise=0.0, warmup_s=0.0, tick_s=1.0, protect=(Protect("ttft", 1.2),))
NOISY = JudgeSettings(warmup_s=0.0, tick_s=1.0, protect=(Protect("ttft", 1.2), Protect("ttft", 2.0, 0.10)))


def arm(requests: int, median_s: float, spread: float, rng: Generator) -> ArmCounts:
    """Return one tick of an arm with log-normal times to the first token."""
    times = median_s * np.exp(spread * rng.standard_normal(requests))
    histogram = {str(bound): float((times <= bound).sum()) for bound in BOUNDS}
    return ArmCounts(requests, 0, {**histogram, "+Inf": float(requests)}, {})


def judged(ratio: float, spread: float, settings: JudgeSettings) -> Judgement:
    """Return the verdict on a challenger that takes `ratio` times as long, after at most 300 s."""
    rng = default_rng(7)

    def recorded() -> Iterator[Tick]:
        for second in range(1, 301):
            weight_pct = 10.0 if second < 10 else 50.0
            shared = 50, 6 if second < 10 else 50
            yield Tick(
                float(second),
                weight_pct,
                arm(shared[0], 0.004, spread, rng),
                arm(shared[1], 0.004 * ratio, spread, rng),
            )

    return replay(recorded(), settings)


@pytest.mark.parametrize("settings", [QUIET, NOISY], ids=["quiet", "noisy"])
@pytest.mark.parametrize("spread", [0.1, 0.5], ids=["narrow", "wide"])
@pytest.mark.parametrize("ratio", [2, 5, 20, 50, 500])
def test_however_much_slower_it_is_rolled_back(ratio: float, spread: float, settings: JudgeSettings) -> None:
    judgement = judged(ratio, spread, settings)
    assert judgement.verdict is Verdict.FAIL, judgement.sentence
    assert judgement.exposed_requests < 500


@pytest.mark.parametrize("settings", [QUIET, NOISY], ids=["quiet", "noisy"])
@pytest.mark.parametrize("ratio", [1 / math.sqrt(2), 0.2, 0.02, 0.002])
def test_a_faster_one_is_promoted(ratio: float, settings: JudgeSettings) -> None:
    judgement = judged(ratio, 0.5, settings)
    assert judgement.verdict is Verdict.PASS, judgement.sentence
