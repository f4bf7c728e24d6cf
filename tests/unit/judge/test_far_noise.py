"""Much evidence in one tick: what a row cannot explain, no noise may explain for it, whatever the arms' shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import ndtr

from reconciler.core.judge import JudgeSettings, Protect
from reconciler.core.judge.bets import Array
from reconciler.core.judge.latency import advance, against, first_state, plan_bets
from tests.bench.judge.counting import VLLM_TPOT_BOUNDS
from tests.bench.judge.traffic import VLLM_TTFT_BOUNDS

# Gaps between tokens lie close together, so that 200 answers say as much as 2,000 first tokens.
GAPS = (VLLM_TPOT_BOUNDS[:8], 0.04, 0.25, 200)
FIRST_TOKENS = (VLLM_TTFT_BOUNDS[5:16], 0.35, 0.62, 2000)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.75, 0.9])
@pytest.mark.parametrize(
    ("bounds", "median_s", "log_sd", "requests"), [GAPS, FIRST_TOKENS], ids=["gaps", "first tokens"]
)
def test_equal_arms_speak_for_no_row(
    bounds: tuple[float, ...], median_s: float, log_sd: float, requests: int, share: float
) -> None:
    paid = after_ten_minutes(cells_of(bounds, median_s, log_sd), bounds, requests, share)
    assert paid.mean(0).max() < -10.0, paid.mean(0)
    assert paid.max() < math.log(100.0)


def cells_of(bounds: tuple[float, ...], median_s: float, log_sd: float) -> Array:
    below = ndtr((np.log(np.array(bounds)) - math.log(median_s)) / log_sd)
    return np.diff(np.concatenate([[0.0], below, [1.0]]))


def after_ten_minutes(cells: Array, bounds: tuple[float, ...], requests: int, share: float) -> Array:
    """Return the log e-value of the row x1.2 and of its square in twenty runs of equal arms, [R, 2]."""
    rng = default_rng(1)
    runs = 20
    settings = JudgeSettings(protect=(Protect("ttft", 1.2),), warmup_s=0)
    plan = plan_bets(bounds, settings.protect, settings)
    state = first_state(plan, runs)
    for _ in range(60):
        challenger = rng.binomial(requests, share, runs)
        arms = [rng.multinomial(requests - challenger, cells), rng.multinomial(challenger, cells)]
        state = advance(state, np.stack(arms, 1).astype(np.float64), 10.0, plan)
    return against(state, plan)
