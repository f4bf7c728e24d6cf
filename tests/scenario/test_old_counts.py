"""Whole rollouts whose counts grow old or stop coming: nothing passes on what was counted long ago."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.model.verdict import Verdict
from reconciler.ports import OLD_S
from tests.scenario.test_rollouts import SETTINGS, rolled, serving
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.platform import FakePlatform

LONG = replace(SETTINGS, step_max_s=200.0, bake_s=120.0)
SETTLED_S = 3.0
"""From here on what is told of a step is not of the one before."""
Meddle = Callable[[FakePlatform], None]


def old(platform: FakePlatform) -> None:
    """Let the counts stay as they are, older by the second."""
    platform.counted_at_s = platform.counted_at_s or platform.now_s


def silent(platform: FakePlatform) -> None:
    """Let nobody read the counts any more."""
    platform.uncounted = "the proxies do not answer"


async def meddled(
    bench: LoopWorld, weight: float, meddle: Meddle, settings: RolloutSettings = LONG
) -> tuple[Rollout, list[str]]:
    """Run a rollout and meddle with its counts once the challenger has `weight` and the evidence there speaks for it.

    Return its end and what it said.
    """
    platform, said = bench.platforms["local"], list[str]()

    def at(snapshot: Any) -> None:
        part = snapshot.rollout.region("local")
        told = [found for found in snapshot.evidence.values() if bench.now - part.since > SETTLED_S]
        good = any(found.bake is Verdict.PASS if weight == 100 else found.looks > 0 for found in told)
        if good and platform.endpoints["chat"].weights["b"] == weight:
            meddle(platform)
        said.extend(found.canary_sentence for found in snapshot.evidence.values())
        said.extend(found.bake_sentence for found in snapshot.evidence.values())

    return await rolled(bench, settings=settings, meddle=at), said


@pytest.mark.parametrize("meddle", [old, silent], ids=["old", "silent"])
@pytest.mark.parametrize("weight", [10.0, 100.0])
async def test_counts_that_stop_coming_are_no_evidence_for_a_release(
    tmp_path: Path, weight: float, meddle: Meddle
) -> None:
    bench = LoopWorld(tmp_path)
    ended, _ = await meddled(bench, weight, meddle)
    assert ended.phase is Phase.PAUSED, ended.reason
    assert (await serving(bench)).get("new", 0.0) in (0.0, weight), "no weight rose"
    assert f"older than {OLD_S:g} s" in ended.reason, ended.reason


async def test_a_short_bake_does_not_end_while_nobody_can_read(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    ended, _ = await meddled(bench, 100.0, silent, replace(LONG, bake_s=20.0))
    assert ended.phase is Phase.PAUSED, ended.reason


async def test_what_is_old_says_how_old_it_is_and_where_to_look(tmp_path: Path) -> None:
    _, said = await meddled(LoopWorld(tmp_path), 50.0, old)
    assert any("the counts of slot a are 1" in each and "look at the fake's clock" in each for each in said)


async def test_counts_of_a_failing_release_that_grow_old_do_not_save_it(tmp_path: Path) -> None:
    """Proof of harm does not wait for fresh counts."""
    bench = LoopWorld(tmp_path, arms={"new": (0.5, 0.05)})
    ended, _ = await meddled(bench, 10.0, lambda platform: None)
    assert ended.phase is Phase.ROLLED_BACK


async def test_counts_that_come_a_little_late_hold_nothing_up(tmp_path: Path) -> None:
    """A Prometheus that scrapes every ten seconds is some seconds behind."""
    bench = LoopWorld(tmp_path)
    bench.platforms["local"].behind_s = 8.0
    ended = await rolled(bench, settings=LONG)
    assert ended.phase is Phase.PROMOTED, ended.reason


async def test_counts_from_before_a_step_belong_to_no_step(tmp_path: Path) -> None:
    """Each step is judged on what was counted after its weight came into force, however late that is told."""
    bench = LoopWorld(tmp_path)
    bench.platforms["local"].behind_s = 20.0
    early: list[tuple[float, int]] = []

    def watch(snapshot: Any) -> None:
        part = snapshot.rollout.region("local")
        if (
            part.phase in (Phase.SHIFTING, Phase.BAKING)
            and SETTLED_S < bench.now - part.since < 20
            and "local" in snapshot.evidence
        ):
            early.append((bench.now - part.since, snapshot.evidence["local"].step_requests))

    ended = await rolled(bench, settings=LONG, meddle=watch)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert early
    assert {requests for _, requests in early} == {0}
