"""Rollouts that limits on the traffic decide: what a challenger's answers are long, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.model.settings import Limit, RolloutSettings, TokenPrices
from tests.scenario.test_rollouts import SETTINGS, rolled, serving
from tests.support.fakes.loop_world import PROMPT_TOKENS, LoopWorld

PRICES = TokenPrices(1.0, 10.0)
USUAL, THRICE = 100, 300


def limited(query: str, most: float) -> RolloutSettings:
    """Return settings with one limit of 100 requests."""
    limit = Limit("mine", "traffic", query, max=most, samples_min=100)
    return replace(SETTINGS, limits=(limit,), token_prices=PRICES)


async def tried(bench: LoopWorld, settings: RolloutSettings) -> tuple[Rollout, Any]:
    return await rolled(bench, settings=settings), await serving(bench)


LENGTH = limited("output_tokens", 200)
COST = limited("cost_usd", 0.002)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (LENGTH, f"mine is {THRICE} output tokens a request, above its limit 200"),
        (COST, f"mine is {(PROMPT_TOKENS + 10 * THRICE) / 1e6:g} USD a request, above its limit 0.002"),
    ],
    ids=["length", "cost"],
)
async def test_answers_three_times_as_long_are_rolled_back(
    tmp_path: Path, settings: RolloutSettings, says: str
) -> None:
    ended, live = await tried(LoopWorld(tmp_path, lengths={"old": USUAL, "new": THRICE}), settings)
    assert (ended.phase, live) == (Phase.ROLLED_BACK, {"old": 100.0})
    assert says in ended.reason


@pytest.mark.parametrize("settings", [LENGTH, COST], ids=["length", "cost"])
async def test_the_champions_answers_are_not_the_challengers(tmp_path: Path, settings: RolloutSettings) -> None:
    ended, live = await tried(LoopWorld(tmp_path, lengths={"old": THRICE, "new": USUAL}), settings)
    assert (ended.phase, live) == (Phase.PROMOTED, {"new": 100.0}), ended.reason


async def test_servers_that_count_no_tokens_give_no_data_and_the_rollout_pauses(tmp_path: Path) -> None:
    ended, live = await tried(LoopWorld(tmp_path), LENGTH)
    assert (ended.phase, live) == (Phase.PAUSED, {"old": 100.0})
    assert str(ended.regions[0].verdict) == "INCONCLUSIVE"
    assert "mine has 0 samples; the limit needs 100" in ended.regions[0].reason


async def test_a_limit_finds_rejections_that_the_champion_has_as_well(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path, rejects={"old": 0.2, "new": 0.2})
    ended, live = await tried(bench, limited("rejected_rate", 0.05))
    assert (ended.phase, live) == (Phase.ROLLED_BACK, {"old": 100.0})
    assert "mine is 0.2 of the requests" in ended.reason
