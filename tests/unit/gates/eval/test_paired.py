"""The bounds cover, agree with Clopper-Pearson where that applies, and say how many cases would decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from reconciler.gates.eval.paired import Sure, above, bounded, cases_needed, exactly

PAIRS = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=120)
CONFIDENCE = 0.95
SURE = Sure(CONFIDENCE, CONFIDENCE)


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_bounds_hold_the_mean_and_stay_on_the_scale(values: list[float]) -> None:
    found = bounded(values, SURE)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx(sum(values) / len(values))


@given(PAIRS)
@settings(max_examples=60, deadline=None)
def test_bounds_mirror_and_ignore_order(values: list[float]) -> None:
    found, mirrored = bounded(values, SURE), bounded([-value for value in values], SURE)
    assert mirrored.low == pytest.approx(-found.high, abs=0.02)
    assert mirrored.high == pytest.approx(-found.low, abs=0.02)
    assert bounded(sorted(values), SURE) == bounded(sorted(values, reverse=True), SURE)


@given(PAIRS, st.integers(0, 119))
@settings(max_examples=60, deadline=None)
def test_one_more_lost_case_never_lowers_the_bounds(values: list[float], at: int) -> None:
    worse = list(values)
    worse[at % len(values)] = 1.0
    before, after = bounded(values, SURE), bounded(worse, SURE)
    assert after.high >= before.high - 0.01
    assert after.low >= before.low - 0.01


@pytest.mark.parametrize("cases", [30, 149, 400])
@pytest.mark.parametrize("lost", [0, 1, 5, 20])
def test_lost_pairs_alone_give_clopper_pearson(cases: int, lost: int) -> None:
    values = [1.0] * lost + [0.0] * (cases - lost)
    exact = float(beta.ppf(CONFIDENCE, lost + 1, cases - lost))
    assert bounded(values, SURE).high == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    ("lost", "gained", "cases"), [(0.02, 0.0, 150), (0.07, 0.05, 150), (0.3, 0.28, 80), (0.06, 0.01, 60)]
)
def test_the_truth_passes_a_bound_as_seldom_as_stated(lost: float, gained: float, cases: int) -> None:
    """A bound that is passed by 5 % of all suites is passed by more than 7.8 % of 600 once in 1,000 times."""
    dice = np.random.default_rng(7)
    truth, runs, low, high = lost - gained, 600, 0, 0
    for _ in range(runs):
        losses, gains, same = dice.multinomial(cases, [lost, gained, 1 - lost - gained])
        found = bounded([1.0] * losses + [-1.0] * gains + [0.0] * same, SURE)
        low += found.low > truth
        high += found.high < truth
    assert low / runs < 0.078
    assert high / runs < 0.078


def test_equal_pairs_rule_out_a_drop_only_when_there_are_enough() -> None:
    assert above(bounded([0.0] * 148, SURE), 0.02) is None
    assert above(bounded([0.0] * 149, SURE), 0.02) is False
    assert cases_needed([0.0] * 30, SURE, 0.02) in (149, 150)


def test_five_points_down_are_above_two_on_a_suite_that_is_large_enough() -> None:
    assert above(bounded([1.0] * 15 + [0.0] * 285, SURE), 0.02) is True
    assert above(bounded([1.0] * 3 + [0.0] * 57, SURE), 0.02) is None


@pytest.mark.parametrize(("lost", "cases"), [(0, 10), (1, 20), (5, 100), (0, 140)])
def test_as_many_cases_as_were_named_decide(lost: int, cases: int) -> None:
    needed = cases_needed([1.0] * lost + [0.0] * (cases - lost), SURE, 0.02)
    assert needed is not None
    assert needed > cases
    share = lost / cases
    count = math.ceil(needed * 1.02 / cases) * cases
    values = [1.0] * round(share * count) + [0.0] * round((1 - share) * count)
    assert above(bounded(values, SURE), 0.02) is not None


def test_a_drop_on_the_limit_is_never_decided() -> None:
    assert cases_needed([1.0] + [0.0] * 49, SURE, 0.02) is None
    assert cases_needed([0.0] * 50, SURE, 0.0) is None


def test_many_different_fractions_are_put_on_a_grid_outwards() -> None:
    values = [index / 1000 for index in range(1000)]
    found = bounded(values, SURE)
    assert found.low < 0.4995 < found.high < 0.53


def test_a_complete_list_has_no_interval() -> None:
    found = exactly([0.0] * 49 + [1.0])
    assert found.low == found.high == found.value == pytest.approx(0.02)
    assert above(found, 0.02) is False
    assert above(exactly([0.0] * 48 + [1.0]), 0.02) is True


def test_each_bound_has_its_own_certainty() -> None:
    values = [1.0] * 15 + [0.0] * 285
    equal, sure = bounded(values, SURE), bounded(values, Sure(0.9999, CONFIDENCE))
    assert sure.low < equal.low
    assert sure.high == equal.high


@pytest.mark.parametrize("convicts", [0.99, 0.999, 1 - 1e-4, 1 - 1e-6])
def test_a_bound_of_any_certainty_is_one_and_never_too_narrow(convicts: float) -> None:
    """Where values differ the bound is drawn at random; it may not be narrower than the closed form of that tail."""
    found = bounded([1.0] * 40 + [0.0] * 60, Sure(convicts, CONFIDENCE))
    exact = float(beta.ppf(1 - convicts, 40, 61))  # Clopper-Pearson
    assert found.low <= exact + 0.01
    assert found.low >= exact - 0.03 or convicts > 1 - 1e-5
