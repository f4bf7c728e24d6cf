"""Alpha is one budget: whoever is asked, however many regions there are, the shares never add up to more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model.alpha import AlphaShares, alpha_shares
from reconciler.core.model.settings import RolloutSettings


def spent(shares: AlphaShares, regions: int) -> float:
    """Return what all may spend together."""
    return shares.judge + regions * (sum(shares.gates.values()) + shares.bake)


settings = st.builds(
    RolloutSettings,
    judge=st.fixed_dictionaries({}, optional={"alpha": st.floats(0.0001, 0.2)}),
    gates=st.dictionaries(st.sampled_from(["eval", "load"]), st.just({"on": True})),
    slo=st.sampled_from([{}, {"error_rate": 0.01}]),
    bake_s=st.sampled_from([0.0, 900.0]),
)


@given(settings, st.integers(1, 30))
def test_the_shares_are_alpha_together(drawn: RolloutSettings, regions: int) -> None:
    alpha = drawn.judge.get("alpha", 0.01)
    assert spent(alpha_shares(drawn, regions), regions) == pytest.approx(alpha)


def test_who_is_not_asked_leaves_its_share_to_the_judge() -> None:
    assert alpha_shares(RolloutSettings(), 3).judge == pytest.approx(0.01)
    promised = alpha_shares(RolloutSettings(slo={"error_rate": 0.01}), 3)
    assert promised.judge == pytest.approx(0.0095)
    gated = alpha_shares(RolloutSettings(slo={"error_rate": 0.01}, gates={"eval": {"suite": "x"}}), 3)
    assert gated.judge < promised.judge
    assert set(gated.gates) == {"eval"}


@pytest.mark.parametrize("strategy", ["blue_green", "shadow"])
def test_without_a_canary_gates_and_bake_have_it_all(strategy: str) -> None:
    flipped: dict[str, Any] = {"strategy": strategy, "slo": {"error_rate": 0.01}, "gates": {"load": {"profile": "x"}}}
    shares = alpha_shares(RolloutSettings(**flipped), 1)
    assert sum(shares.gates.values()) + shares.bake == pytest.approx(0.01)


def test_a_bake_that_takes_no_time_asks_nothing_and_spends_nothing() -> None:
    flipped = alpha_shares(RolloutSettings(slo={"error_rate": 0.01}, bake_s=0.0), 1)
    assert flipped.bake == 0.0
    assert flipped.judge == pytest.approx(0.01)
