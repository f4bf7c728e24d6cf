"""A challenger that leaves requests without an end, behind a gateway that counts them as they end: a cluster's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.rollout import Phase
from reconciler.ports import SlotCounts
from tests.scenario.test_rollouts import NEW, SETTINGS, rolled, serving
from tests.support.fakes.loop_world import LoopWorld

BAKING = replace(SETTINGS, bake_s=400.0)


def answers_in(bench: LoopWorld) -> None:
    """Let servers tell how long whole answers take, as vLLM does."""
    counts = bench.runtime.counts

    async def whole(url: str) -> SlotCounts:
        found = await counts(url)
        return replace(found, answer_s=found.ttft_s)

    bench.runtime.counts = whole  # type: ignore[method-assign]


@pytest.mark.parametrize("step_min_s", [SETTINGS.step_min_s, 180.0])
@pytest.mark.parametrize("hanging", [0.2, 0.3, 1.0])
async def test_requests_that_never_end_roll_a_canary_back(tmp_path: Path, hanging: float, step_min_s: float) -> None:
    """Some that hang are seen once they are more than all that began within an answer's time and ended.

    Until then their weight does not rise, though those that end are as good as the champion's.
    """
    bench = LoopWorld(tmp_path)
    answers_in(bench)
    platform = bench.platforms["local"]
    platform.counts_in_flight = True
    most = 0.0

    def spoil(snapshot: Any) -> None:
        nonlocal most
        most = max(most, platform.endpoints["chat"].weights["b"])
        if platform.endpoints["chat"].weights["b"] > 0:
            platform.hanging = {NEW.id: hanging}

    ended = await rolled(bench, settings=replace(BAKING, step_min_s=step_min_s, step_max_s=400.0), meddle=spoil)
    assert ended.phase is Phase.ROLLED_BACK, ended.reason
    assert "are open for too long and count as failed" in ended.reason
    assert most == 10
    assert await serving(bench) == {"old": 100.0}


@pytest.mark.parametrize(("hanging", "phase"), [(0.0, Phase.PROMOTED), (0.3, Phase.ROLLED_BACK)])
async def test_requests_that_never_end_are_seen_in_the_bake(tmp_path: Path, hanging: float, phase: Phase) -> None:
    bench = LoopWorld(tmp_path)
    answers_in(bench)
    platform = bench.platforms["local"]
    platform.counts_in_flight = True

    def spoil(snapshot: Any) -> None:
        if platform.endpoints["chat"].weights["b"] == 100:
            platform.hanging = {NEW.id: hanging}

    ended = await rolled(bench, settings=BAKING, meddle=spoil)
    assert ended.phase is phase, ended.reason
    assert ("an answer within 30 s broken by" in ended.reason) == (phase is Phase.ROLLED_BACK)
    assert await serving(bench) == {"new" if phase is Phase.PROMOTED else "old": 100.0}
