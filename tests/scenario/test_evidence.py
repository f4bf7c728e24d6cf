"""Whole rollouts whose evidence is hard to come by: hangs, slow answers, sick metrics, slow sources, deaths."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.model.settings import Limit, RolloutSettings
from reconciler.evidence.analyst import Analyst
from reconciler.evidence.limits import LATE_S, LimitWatch
from reconciler.evidence.rollout_judge import RolloutJudge
from reconciler.ports import Sample, SlotCounts, read_all
from tests.scenario.test_rollouts import NEW, OLD, SETTINGS, rolled, serving
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.platform import FakePlatform
from tests.support.fakes.starting import Answers, StartingPlatform

PATIENT = replace(SETTINGS, step_min_s=30.0, step_max_s=900.0, bake_s=60.0)


AT_ONCE = Answers()
FAILING = {"old": (0.02, 0.05), "new": (0.02, 0.05)}


def starting(path: Path, new: Answers = AT_ONCE, old: Answers = AT_ONCE, **kind: Any) -> LoopWorld:
    """Return a world whose gateways know when requests began."""
    bench = LoopWorld(path, platform=StartingPlatform, **kind)
    for platform in bench.platforms.values():
        assert isinstance(platform, StartingPlatform)
        platform.answers = {NEW.id: new, OLD.id: old}
    return bench


async def run(
    bench: LoopWorld, settings: RolloutSettings = PATIENT, meddle: Any = None
) -> tuple[Rollout, dict[str, float]]:
    return await rolled(bench, settings=settings, meddle=meddle), await serving(bench)


async def test_a_challenger_that_answers_health_and_hangs_on_every_request_is_rolled_back(tmp_path: Path) -> None:
    bench = starting(tmp_path, new=Answers(hanging=1.0))
    exposed_s = []

    def watch(snapshot: Any) -> None:
        if bench.platforms["local"].endpoints["chat"].weights["b"]:
            exposed_s.append(bench.now)

    ended, live = await run(bench, meddle=watch)
    assert (ended.phase, live) == (Phase.ROLLED_BACK, {"old": 100.0})
    assert "leaves requests without an end" in ended.reason
    assert exposed_s[-1] - exposed_s[0] <= 75.0


@pytest.mark.parametrize("answer_s", [20.0, 60.0])
async def test_answers_that_take_long_are_promoted_and_not_taken_for_a_hang(tmp_path: Path, answer_s: float) -> None:
    slow = Answers(lasting_s=answer_s)
    bench = starting(tmp_path, new=slow, old=slow, arms=FAILING)
    ended, live = await run(bench)
    assert (ended.phase, live) == (Phase.PROMOTED, {"new": 100.0}), ended.reason


async def test_a_hang_that_begins_in_the_bake_is_rolled_back(tmp_path: Path) -> None:
    bench = starting(tmp_path)
    platform = bench.platforms["local"]
    assert isinstance(platform, StartingPlatform)

    def spoil(snapshot: Any) -> None:
        if platform.endpoints["chat"].weights["b"] == 100:
            platform.answers = {NEW.id: Answers(hanging=0.5)}

    ended, live = await run(bench, replace(PATIENT, bake_s=300.0), spoil)
    assert (ended.phase, live) == (Phase.ROLLED_BACK, {"old": 100.0}), ended.reason
    assert "an answer within 30 s broken by" in ended.reason


@pytest.mark.parametrize("platform", ["by start", "at the end"])
async def test_errors_are_seen_while_the_sick_servers_metrics_fail_at_every_other_read(
    tmp_path: Path, platform: str
) -> None:
    kind = StartingPlatform if platform == "by start" else FakePlatform
    bench = LoopWorld(tmp_path, platform=kind, arms={"new": (0.5, 0.05)})
    counts, reads = bench.runtime.counts, 0

    async def sick(url: str) -> SlotCounts:
        nonlocal reads
        reads += url.endswith("/b")
        if url.endswith("/b") and reads % 2:
            raise SluiceError("RUN-005", where=url, what="the server's metrics cannot be used", retryable=True)
        return await counts(url)

    bench.runtime.counts = sick  # type: ignore[method-assign]
    ended, live = await run(bench)
    assert (ended.phase, live) == (Phase.ROLLED_BACK, {"old": 100.0})
    assert "error_rate is worse" in ended.reason


async def test_a_gateway_that_restarts_costs_no_verdict(tmp_path: Path) -> None:
    bench = starting(tmp_path, new=Answers(lasting_s=5.0), old=Answers(lasting_s=5.0))
    platform = bench.platforms["local"]
    turns = 0

    def restart(snapshot: Any) -> None:
        nonlocal turns
        turns += platform.endpoints["chat"].weights["b"] == 10
        if turns == 20:
            platform.restart_gateway()

    ended, live = await run(bench, meddle=restart)
    assert (ended.phase, live) == (Phase.PROMOTED, {"new": 100.0}), ended.reason


async def test_a_new_process_judges_on_where_the_old_one_stood(tmp_path: Path) -> None:
    """Two regions, several weights, a promotion in between: the state is the same, and the next tick counts once."""
    bench = starting(tmp_path, regions=("one", "two"), new=Answers(lasting_s=3.0), arms=FAILING)
    seen: dict[str, Any] = {}

    def watch(snapshot: Any) -> None:
        if snapshot.rollout.region("two").phase is Phase.SHIFTING:
            seen["rollout"], seen["judged"] = snapshot.rollout, dict(snapshot.judged)

    await rolled(bench, settings=PATIENT, meddle=watch)
    judge = RolloutJudge(seen["rollout"])
    await judge.resume(seen["rollout"], bench.store)
    again = {name: judge.judgement(name) for name in ("one", "two")}
    assert {name: found.evidence for name, found in again.items() if found} == seen["judged"]


async def test_a_process_that_resumes_counts_no_request_twice(tmp_path: Path) -> None:
    bench = starting(tmp_path, new=Answers(lasting_s=4.0), old=Answers(lasting_s=4.0))
    await bench.serve(OLD)
    begun = await bench.begin(NEW, PATIENT)
    stopped: list[Rollout] = []

    class Enough(Exception):
        pass

    def stop(snapshot: Any) -> None:
        if bench.platforms["local"].endpoints["chat"].weights["b"] == 50:
            stopped.append(snapshot.rollout)
            raise Enough

    with pytest.raises(Enough):
        await bench.run(begun, meddle=stop)
    region = bench.adapters().regions["local"]
    judge = RolloutJudge(stopped[0])

    async def keep(region: str, body: Json) -> None:
        await bench.store.add_tick("r1", region, body)

    analyst = Analyst(region, bench.store, judge, keep=keep)
    await analyst.resume(stopped[0])
    before = judge.judgement("local")
    (observed,) = await read_all(region.reader, ["chat"])
    await analyst.look(stopped[0], observed, bench.now)
    after = judge.judgement("local")
    assert before is not None
    assert after is not None
    assert after.exposed_requests - before.exposed_requests <= bench.requests_a_second * 3


class Slow:
    """A metric source that answers when it is told to."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.asked = 0

    async def read(self, query: str, variables: Mapping[str, str], window_s: float) -> Sample:
        self.asked += 1
        await self.answer.wait()
        return Sample(0.5, 1000)


LIMIT = Limit("click_through", "prometheus", "q", min=0.4, samples_min=10)


async def test_a_slow_source_delays_nothing_and_is_an_error_when_it_is_late(tmp_path: Path) -> None:
    bench, slow = LoopWorld(tmp_path), Slow()
    await bench.serve(OLD)
    rollout = await bench.begin(NEW, replace(SETTINGS, limits=(LIMIT,)))
    watch = LimitWatch(replace(bench.adapters().regions["local"], metrics={"prometheus": slow}))

    async def look(now: float, since_s: float = 0.0) -> tuple[str, str]:
        ((verdict, sentence),) = await watch.look(rollout, SlotCounts(0, 0), since_s=since_s, now=now)  # type: ignore[arg-type]
        return str(verdict), sentence

    async with asyncio.timeout(20):
        assert await look(10.0) == ("INCONCLUSIVE", "click_through: prometheus has not answered yet")
        late = await look(10.0 + LATE_S + 1)
        assert late == ("ERROR", f"click_through: no answer from prometheus for {LATE_S + 1:g} s")
        assert slow.asked == 1
        slow.answer.set()
        assert (await look(80.0))[0] == "PASS"
        slow.answer.clear()
        assert (await look(90.0))[0] == "PASS"
        assert (await look(100.0))[1].endswith("s ago"), "an answer is carried with its age"
        assert (await look(101.0, since_s=99.0))[0] == "INCONCLUSIVE", "a new step asks anew"
        await watch.close()


async def test_looks_count_ticks_that_told_of_the_challenger_at_the_present_weight(tmp_path: Path) -> None:
    bench = starting(tmp_path)
    looks: dict[float, list[int]] = {}

    def watch(snapshot: Any) -> None:
        weight = bench.platforms["local"].endpoints["chat"].weights["b"]
        part = snapshot.rollout.region("local")
        if part.phase is Phase.SHIFTING and weight == snapshot.rollout.settings.ladder[part.step]:
            looks.setdefault(weight, []).append(snapshot.evidence["local"].looks)

    await run(bench, meddle=watch)
    for counted in (looks[10.0], looks[50.0]):
        assert counted[0] <= 1
        assert counted == sorted(counted)
        assert counted[-1] > 3


async def test_evidence_that_leans_says_so_in_every_region(tmp_path: Path) -> None:
    bench = starting(tmp_path, regions=("one", "two"), arms={"new": (0.05, 0.05)})
    leant: set[bool] = set()

    def watch(snapshot: Any) -> None:
        leant.update(evidence.leaning for evidence in snapshot.evidence.values())

    ended = await rolled(bench, settings=PATIENT, meddle=watch)
    assert ended.phase is Phase.ROLLED_BACK
    assert leant == {True, False}
