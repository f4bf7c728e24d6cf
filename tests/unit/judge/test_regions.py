"""One judgement for all regions: alpha is shared, evidence adds up, and one bad region is still found."""

from __future__ import annotations

import numpy as np
import pytest

from reconciler.core.judge import (
    JudgeSettings,
    RolloutState,
    Tick,
    judge_region,
    leaning,
    observe_region,
    start_rollout,
)
from reconciler.core.model.verdict import Verdict
from tests.bench.judge.runs import join, judge_recording, ticks_of
from tests.bench.judge.traffic import EQUAL, FLAT, Recording, Release, Traffic, simulate
from tests.unit.judge.test_judge import ticks
from tests.unit.judge.test_null import SETTINGS

MILD = Release(error_ratio=2.5)


def observed(by_region: dict[str, list[Tick]], settings: JudgeSettings = SETTINGS) -> RolloutState:
    """Return the state after all ticks, the regions taking turns."""
    state = start_rollout(by_region, settings)
    for k in range(max(len(told) for told in by_region.values())):
        for name, told in by_region.items():
            state = observe_region(state, name, told[k], settings) if k < len(told) else state
    return state


def regional(runs: int, seed: int, releases: list[Release], duration_s: float = 1800.0) -> Recording:
    """Return a recording of so many rollouts, region by region."""
    parts = [
        simulate(Traffic(), release, FLAT, runs=runs, seed=seed + k, duration_s=duration_s)
        for k, release in enumerate(releases)
    ]
    return Recording(
        parts[0].weight_pct,
        np.concatenate([part.requests for part in parts], 1),
        np.concatenate([part.errors for part in parts], 1),
        {"ttft": np.concatenate([part.latency["ttft"] for part in parts], 1)},
        parts[0].bounds,
    )


def test_a_release_that_is_bad_everywhere_is_found_sooner_the_more_regions_there_are() -> None:
    alone, together = (judge_recording(regional(40, 100, [MILD] * n), SETTINGS, regions=n).failed_s for n in (1, 5))
    assert np.median(together) < 0.5 * np.median(alone)


def test_a_release_that_is_bad_in_one_region_of_ten_is_found_nearly_as_soon_as_there_alone() -> None:
    bad = Release(error_ratio=8.0)
    alone = judge_recording(regional(20, 200, [bad]), SETTINGS).failed_s
    one_of_ten = judge_recording(regional(20, 200, [bad] + [EQUAL] * 9, 900.0), SETTINGS, regions=10).failed_s
    assert np.isfinite(one_of_ten).all()
    assert np.mean(one_of_ten) < 2.0 * np.mean(alone)


def test_ten_equal_regions_are_rolled_back_no_more_often_than_one() -> None:
    outcome = join([judge_recording(regional(60, 300 + k, [EQUAL] * 10, 600.0), SETTINGS, regions=10) for k in (0, 50)])
    # At alpha 0.01 more than 6 of 120 has probability 0.001.
    assert np.isfinite(outcome.failed_s).sum() <= 6


def test_many_regions_side_by_side_decide_as_the_public_interface_does() -> None:
    """The product looks after each region's tick, the bench after all of them: so the product is sometimes sooner."""
    recording = regional(4, 400, [MILD, EQUAL, MILD], 900.0)
    together = judge_recording(recording, SETTINGS, regions=3).failed_s
    states = [observed({str(g): ticks_of(recording, g * 4 + run) for g in range(3)}) for run in range(4)]
    alone = np.array([np.inf if state.failed is None else state.failed.decided_at_s for state in states])
    assert (alone <= together).all()
    assert (alone == together).sum() >= 3


def test_a_fail_is_the_rollouts_and_says_where_it_was_seen() -> None:
    state = observed({"eu": ticks(1, 40), "us": ticks(2, 40, error_rate=0.5)})
    found = {name: judge_region(state, name, SETTINGS) for name in ("eu", "us")}
    assert {each.verdict for each in found.values()} == {Verdict.FAIL}
    assert found["us"].sentence.startswith("Roll back: error_rate is worse")
    assert found["eu"].sentence.startswith("us: Roll back")


def test_a_region_passes_by_itself_and_is_watched_on() -> None:
    state = observed({"eu": ticks(3, 180, weight_pct=50), "us": []})
    assert judge_region(state, "eu", SETTINGS).verdict is Verdict.PASS
    assert judge_region(state, "us", SETTINGS).verdict is Verdict.INCONCLUSIVE
    for tick in ticks(4, 60, weight_pct=50, error_rate=0.3):
        state = observe_region(state, "eu", Tick(tick.t_s + 1800, 50.0, tick.champion, tick.challenger), SETTINGS)
    assert judge_region(state, "eu", SETTINGS).verdict is Verdict.FAIL


@pytest.mark.parametrize(("errors", "leans"), [(0.01, False), (0.12, True)])
def test_evidence_half_of_the_way_leans(errors: float, leans: bool) -> None:
    state = start_rollout(["eu"], SETTINGS)
    leant = False
    for tick in ticks(5, 12, error_rate=errors):
        state = observe_region(state, "eu", tick, SETTINGS)
        leant |= state.failed is None and leaning(state, SETTINGS)
    assert leant is leans


def test_the_order_in_which_regions_are_read_does_not_matter() -> None:
    told = {"eu": ticks(6, 30, error_rate=0.02), "us": ticks(7, 30)}
    one, other = observed(told), observed(dict(reversed(told.items())))
    assert judge_region(one, "eu", SETTINGS) == judge_region(other, "eu", SETTINGS)
