"""Traffic that does not follow its weight is a fault; lag and chance are not."""

from __future__ import annotations

import pytest

from reconciler.core.judge.sample_ratio import SampleRatio, fault, follow


def after(weights: list[tuple[float, tuple[int, int]]]) -> SampleRatio:
    """Return the window after ticks of (weight, requests of both arms)."""
    routing = SampleRatio()
    for k, (weight_pct, arms) in enumerate(weights, start=1):
        routing = follow(routing, 10.0 * k, 10.0, weight_pct, arms)
    return routing


@pytest.mark.parametrize("arms", [(190, 10), (160, 40), (200, 0), (0, 200)])
def test_a_share_far_from_the_weight_is_a_fault(arms: tuple[int, int]) -> None:
    message = fault(after([(10.0, arms)] * 40))
    assert message is not None
    assert "weight 10 %" in message


@pytest.mark.parametrize("arms", [(180, 20), (176, 24), (183, 17)])
def test_a_share_near_the_weight_is_none(arms: tuple[int, int]) -> None:
    assert fault(after([(10.0, arms)] * 40)) is None


def test_a_weight_that_lags_a_minute_is_no_fault() -> None:
    assert fault(after([(10.0, (180, 20))] * 30 + [(50.0, (180, 20))] * 6 + [(50.0, (100, 100))] * 30)) is None


def test_little_traffic_is_no_fault() -> None:
    assert fault(after([(10.0, (5, 0))] * 20)) is None


def test_a_fault_that_was_mended_fades() -> None:
    broken = [(10.0, (200, 0))] * 20
    assert fault(after(broken)) is not None
    assert fault(after(broken + [(10.0, (180, 20))] * 60)) is None


def test_no_traffic_at_all_is_no_fault() -> None:
    assert fault(after([(50.0, (0, 0))] * 20)) is None


def test_requests_at_weight_zero_are_a_fault() -> None:
    assert fault(after([(0.0, (150, 50))] * 20)) is not None
