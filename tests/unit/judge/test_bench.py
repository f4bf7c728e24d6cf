"""The bench's own parts: the simulator repeats, the peers decide as documented, the table says what is met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench.judge.measured import Figure, proportion
from tests.bench.judge.peers import Checks, Thresholds, histogram_quantile, kayenta, sprt_exposed, stops
from tests.bench.judge.report import markdown, table
from tests.bench.judge.traffic import EQUAL, FLAT, RAMP, VLLM_TTFT_BOUNDS, Release, Traffic, simulate, weight_at

STEADY = Traffic(drift=False, bursts=False)


def test_the_same_seed_gives_the_same_traffic() -> None:
    one, same = (simulate(Traffic(), EQUAL, RAMP, runs=3, seed=5, duration_s=300.0) for _ in range(2))
    other = simulate(Traffic(), EQUAL, RAMP, runs=3, seed=6, duration_s=300.0)
    assert (one.latency["ttft"] == same.latency["ttft"]).all()
    assert (one.latency["ttft"] != other.latency["ttft"]).any()


def test_the_simulated_release_is_as_bad_as_it_was_told_to_be() -> None:
    release = Release(error_ratio=3.0, ratio=1.3)
    found = simulate(STEADY, release, FLAT, runs=40, seed=7)
    rates = found.errors.sum((0, 1)) / found.requests.sum((0, 1))
    assert rates.tolist() == pytest.approx([0.01, 0.03], rel=0.05)
    medians = histogram_quantile(0.5, found.latency["ttft"].sum((0, 1)))
    assert medians[1] / medians[0] == pytest.approx(1.3, rel=0.05)
    assert found.latency["ttft"].sum(-1) == pytest.approx(found.requests - found.errors)


def test_the_ramp_follows_its_steps() -> None:
    assert [weight_at(RAMP, t_s) for t_s in (10, 120, 130, 420, 430, 1800)] == [1, 1, 10, 10, 50, 50]


def test_a_quantile_is_interpolated_inside_its_bucket() -> None:
    cells = np.zeros((1, len(VLLM_TTFT_BOUNDS) + 1))
    cells[0, VLLM_TTFT_BOUNDS.index(0.5)] = 100
    assert histogram_quantile(0.8, cells)[0] == pytest.approx(0.25 + 0.8 * 0.25)


def test_thresholds_stop_at_the_failure_limit_and_skip_checks_without_data() -> None:
    rates = np.array([0.05, 0.05, 0.00, 0.05, 0.05])[:, None, None] * np.ones((1, 1, 2))
    enough = np.array([True, False, True, True, True])[:, None]
    checks = Checks(60.0 * np.arange(1, 6), rates, np.ones((5, 1, 2)), enough)
    assert stops(checks, Thresholds(60.0, 0.04, 9.0, 2, ratio=False)).tolist() == [240.0]
    assert stops(checks, Thresholds(60.0, 0.04, 9.0, 4, ratio=False)).tolist() == [np.inf]


def test_kayenta_decides_at_its_interval_and_leaves_equal_releases_alone() -> None:
    bad = kayenta(simulate(STEADY, Release(error_ratio=8.0), FLAT, runs=20, seed=8))
    assert set(bad.failed_s.tolist()) == {600.0}
    assert np.isinf(kayenta(simulate(STEADY, EQUAL, FLAT, runs=20, seed=9)).failed_s).all()


def test_the_sprt_needs_about_what_wald_says() -> None:
    exposed = sprt_exposed(STEADY, Release(ratio=1.2), 10.0, alpha=0.01, runs=2000, seed=10).mean()
    information = (np.log(1.2) / STEADY.log_sd) ** 2 / 2.0
    assert np.log(100) / information < exposed < 1.5 * np.log(100) / information


def test_the_table_says_what_is_met(tmp_path: Path) -> None:
    found = [proportion("g", "rare", 1, 200, limit=1.0), Figure("g", "slow", 5.0, 4.0, 6.0, 9, "x", 6.0, True)]
    assert found[0].met is True
    assert found[0].low < 0.5 < found[0].high
    assert "NOT MET" in table(found)
    assert "| g: slow | 5.00x | 4.00 to 6.00 | 9 | at least 6 | **no** |" in markdown(found)
