"""What a person, another region, or a failing store does in the middle of a rollout, at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.rollout import Intent, Phase, Rollout, rollout_from_json, rollout_to_json
from reconciler.core.rollout.operator import aborted, paused, promoted_by_hand, resumed
from reconciler.ports import GateContext, GateEvidence
from tests.scenario.test_rollouts import NEW, OLD, SETTINGS, kinds, serving
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.platform import Call

Change = Callable[[Rollout], Rollout]


async def wish(bench: LoopWorld, change: Change, id: str = "r1") -> None:
    """Write an operator's wish into the store, as a command in another process does."""
    for _ in range(10):
        stored = await bench.store.rollout(id)
        assert stored is not None
        body = rollout_to_json(change(rollout_from_json(stored.body)))
        try:
            await bench.store.save_rollout(stored, body, active=True, lease=None)
        except SluiceError as error:
            if error.code != "STORE-002":
                raise
        else:
            return
    raise AssertionError("it never worked")


def once(bench: LoopWorld, region: str, verb: str, act: Callable[[], Any], *, side: str = "before") -> list[str]:
    """Have `act` happen once, beside the first call of a writer's verb in a region; return what happened."""
    happened: list[str] = []
    platform = bench.platforms[region]
    usual = getattr(platform, side)

    async def hook(call: Call) -> None:
        await usual(call)
        weighs_challenger = verb != "weigh" or call.weights_pct.get("b", 0) > 0
        if call.verb == verb and weighs_challenger and not happened:
            happened.append(verb)
            await act()

    setattr(platform, side, hook)
    return happened


async def test_an_abort_between_a_decision_and_its_effect_is_not_lost(tmp_path: Path) -> None:
    """Defect 1a: the abort comes while a pause is being decided, and the rollout ends rolled back, not paused."""
    bench = LoopWorld(tmp_path, requests_a_second=0)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    save = bench.store.save_rollout
    done: list[str] = []

    async def meddled(stored: Any, body: Any, **more: Any) -> Any:
        if body["phase"] == "paused" and not done:
            done.append("abort")
            await wish(bench, lambda r: aborted(r, "by hand"))
        return await save(stored, body, **more)

    bench.store.save_rollout = meddled  # type: ignore[assignment]
    ended = await bench.run(begun)
    assert (done, ended.phase, ended.reason) == (["abort"], Phase.ROLLED_BACK, "by hand")
    assert await serving(bench) == {"old": 100.0}


async def test_an_abort_while_the_alias_is_set_takes_everything_back(tmp_path: Path) -> None:
    """Defect 1b: both regions return to the old release, and the alias with them."""
    bench = LoopWorld(tmp_path, regions=("one", "two"))
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    mark = bench.registry.mark

    async def marked(ref: Any, alias: str, *, kind: str) -> str | None:
        if not bench.registry.marked:
            await wish(bench, lambda r: aborted(r, "by hand"))
        return await mark(ref, alias, kind=kind)

    bench.registry.mark = marked  # type: ignore[method-assign]
    ended = await bench.run(begun)
    assert ended.phase is Phase.ROLLED_BACK
    assert await serving(bench, "one") == await serving(bench, "two") == {"old": 100.0}
    assert list(dict.fromkeys(bench.registry.marked)) == ["file:models/new", "file:models/old"]


async def test_one_regions_trouble_does_not_stop_anothers_rollback(tmp_path: Path) -> None:
    """Defect 1c: region two's effect fails a third time while region one rolls back; no pause stops that."""
    bench = LoopWorld(tmp_path, regions=("one", "two"), arms={"new": (0.5, 0.05)})
    await bench.serve(OLD)
    together = await bench.begin(NEW, SETTINGS)
    together = replace(together, regions=tuple(replace(r, wave=0) for r in together.regions))
    usual = bench.platforms["two"].before
    tries = 0

    async def refuse(call: Call) -> None:
        nonlocal tries
        if call.verb == "weigh" and call.weights_pct.get("b", 0) > 0:
            tries += 1
            while tries == 3 and bench.loop.rollout.region("one").phase is Phase.SHIFTING:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            raise SluiceError("PLAT-010", what="no answer", retryable=True)
        if usual:
            await usual(call)

    bench.platforms["two"].before = refuse
    ended = await bench.run(together)
    assert tries == 3
    assert ended.phase is Phase.ROLLED_BACK, ended.reason
    assert await serving(bench, "one") == await serving(bench, "two") == {"old": 100.0}


@pytest.mark.parametrize(
    "later", [lambda r: paused(r, "x"), lambda r: resumed(r, 0), lambda r: promoted_by_hand(r, "x", 0)]
)
async def test_no_wish_erases_an_abort(tmp_path: Path, later: Change) -> None:
    """Defect 1d."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    gone = aborted(await bench.begin(NEW, SETTINGS), "first")
    with pytest.raises(SluiceError, match="ROLL-006"):
        later(gone)
    assert aborted(gone, "second").reason == "first"
    assert gone.intent is Intent.ABORT


async def test_a_challenger_that_turns_bad_while_paused_has_no_traffic(tmp_path: Path) -> None:
    """Defect 4."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)

    async def pause_at_half() -> None:
        await wish(bench, lambda r: paused(r, "to look at it"))
        bench.arms["new"] = (1.0, 0.05)

    happened = once(bench, "local", "weigh", pause_at_half, side="after")
    ended = await bench.run(begun)
    assert happened
    assert ended.phase in (Phase.PAUSED, Phase.ROLLED_BACK)
    assert await serving(bench) == {"old": 100.0}


class Hiccups:
    """A store that cannot be written from one moment to another."""

    def __init__(self, bench: LoopWorld, *, seconds: float) -> None:
        self._bench, self._seconds = bench, seconds
        self.began: float | None = None
        self.refused = 0
        for name in ("append", "save_rollout", "add_tick", "renew", "create_rollout"):
            setattr(bench.store, name, self._guarded(getattr(bench.store, name)))

    def _guarded(self, found: Any) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            if self.began is not None and self._bench.now - self.began < self._seconds:
                self.refused += 1
                raise SluiceError("STORE-001", what="could not write; nothing of it was written", retryable=True)
            return await found(*args, **named)

        return call


async def test_a_store_that_hiccups_ends_no_canary(tmp_path: Path) -> None:
    """Defect 10: one transient error of the store is waited out while the lease lasts."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    hiccups = Hiccups(bench, seconds=6)

    async def begin() -> None:
        hiccups.began = bench.now

    once(bench, "local", "weigh", begin, side="after")
    ended = await bench.run(begun)
    assert hiccups.refused
    assert ended.phase is Phase.PROMOTED, ended.reason
    await kinds(bench)


async def test_a_store_that_stays_away_leaves_no_canary_unwatched(tmp_path: Path) -> None:
    """Before its lease ends an owner that cannot write gives the traffic back, and says what failed."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    hiccups = Hiccups(bench, seconds=10**6)

    async def begin() -> None:
        hiccups.began = bench.now

    once(bench, "local", "weigh", begin, side="after")
    with pytest.raises(SluiceError, match="STORE-001"):
        await bench.run(begun)
    assert hiccups.began is not None
    assert bench.now - hiccups.began < 15, "its lease lasts fifteen seconds"
    assert await serving(bench) == {"old": 100.0}
    hiccups.began = None
    bench.die_and_forget()
    assert (await bench.run(begun, owner="two")).phase is Phase.PROMOTED


async def test_a_defect_in_the_loop_leaves_no_canary_unwatched(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)

    def broken(snapshot: Any) -> None:
        if snapshot.rollout.regions[0].phase is Phase.SHIFTING and snapshot.observed["local"].weights["b"] == 50:
            raise ZeroDivisionError("a defect in whoever watches")

    with pytest.raises(ZeroDivisionError):
        await bench.run(begun, meddle=broken)
    assert await serving(bench) == {"old": 100.0}


async def test_an_owner_that_leaves_gives_the_traffic_back_and_the_next_goes_on(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)

    def leave(snapshot: Any) -> None:
        if snapshot.observed.get("local") and snapshot.observed["local"].weights["b"] == 50:
            bench.loop.leave()

    left = await bench.run(begun, meddle=leave)
    assert left.phase is Phase.SHIFTING
    assert await serving(bench) == {"old": 100.0}
    assert (await bench.run(begun, owner="two")).phase is Phase.PROMOTED
    assert await serving(bench) == {"new": 100.0}


async def test_a_slow_region_delays_no_other_regions_rollback(tmp_path: Path) -> None:
    """Defect 31: region two's reading takes ten seconds; region one is rolled back in the meantime."""
    bench = LoopWorld(tmp_path, regions=("one", "two"))
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    together = replace(begun, regions=tuple(replace(r, wave=0) for r in begun.regions))
    observe = bench.platforms["two"].observe
    moved: dict[str, float] = {}

    async def slowly(endpoints: Any = None) -> Any:
        if bench.platforms["one"].endpoints["chat"].weights["b"] > 0:
            await asyncio.sleep(10)
        async for page in observe(endpoints):
            yield page

    bench.platforms["two"].observe = slowly  # type: ignore[method-assign]

    def spoil(snapshot: Any) -> None:
        weight = bench.platforms["one"].endpoints["chat"].weights["b"]
        if weight > 0 and "bad" not in moved:
            moved["bad"] = bench.now
            bench.arms["new"] = (0.9, 0.05)
        if "bad" in moved and weight == 0:
            moved.setdefault("back", bench.now)

    ended = await bench.run(together, meddle=spoil)
    assert ended.phase is Phase.ROLLED_BACK
    assert moved["back"] - moved["bad"] < 10, moved


async def test_a_region_that_left_the_file_does_not_hold_an_abort_for_ever(tmp_path: Path) -> None:
    """Defect 15: nobody can reach the region any more; the abort ends all the same and says what is unknown."""
    bench = LoopWorld(tmp_path, regions=("one", "two"))
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)

    def gone(snapshot: Any) -> None:
        if snapshot.rollout.region("two").phase is Phase.SHIFTING:
            bench.platforms["two"].unreachable = "the environment file no longer declares it"
            tasks.append(asyncio.ensure_future(abort()))

    asked: list[str] = []
    tasks: list[Any] = []

    async def abort() -> None:
        if not asked:
            asked.append("abort")
            await wish(bench, lambda r: aborted(r, "by hand"))

    ended = await bench.run(begun, meddle=gone)
    assert ended.phase is Phase.FAILED
    assert "two" in {r.region for r in ended.regions if r.phase is Phase.FAILED}
    assert "could not be read" in ended.reason
    assert await serving(bench, "one") == {"old": 100.0}


async def test_an_alias_that_cannot_be_set_undoes_no_promotion(tmp_path: Path) -> None:
    """Defect 21."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)

    async def refused(ref: Any, alias: str, *, kind: str) -> str | None:
        raise SluiceError("REG-003", what="the registry does not answer", retryable=True)

    bench.registry.mark = refused  # type: ignore[method-assign]
    ended = await bench.run(await bench.begin(NEW, SETTINGS))
    assert ended.phase is Phase.PROMOTED
    assert "alias `champion-test-chat` could not be set" in ended.reason
    assert await serving(bench) == {"new": 100.0}


async def test_an_effect_that_keeps_failing_is_told_now_and_then(tmp_path: Path) -> None:
    """Defect 32: a rollback that fails for minutes does not fill the ledger."""
    bench = LoopWorld(tmp_path, arms={"new": (0.5, 0.05)})
    await bench.serve(OLD)
    usual = bench.platforms["local"].before
    refused = 0

    async def refuse(call: Call) -> None:
        nonlocal refused
        back = call.verb == "weigh" and call.weights_pct.get("b") == 0
        if back and refused < 12:
            refused += 1
            raise SluiceError("PLAT-010", what="no answer", retryable=True)
        if usual:
            await usual(call)

    bench.platforms["local"].before = refuse
    ended = await bench.run(await bench.begin(NEW, SETTINGS))
    assert ended.phase is Phase.ROLLED_BACK
    told = [kind for kind in await kinds(bench) if kind == "weigh.failed"]
    assert (refused, len(told)) == (12, 4), "the first, second, fourth and eighth attempt"


async def test_a_promotion_by_hand_says_so(tmp_path: Path) -> None:
    """A promotion by hand never borrows another wave's sentence of evidence."""
    bench = LoopWorld(tmp_path, regions=("one", "two"))
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    asked: list[str] = []
    tasks: list[Any] = []

    def hurry(snapshot: Any) -> None:
        if snapshot.rollout.region("two").phase is Phase.SHIFTING and not asked:
            asked.append("promote")
            tasks.append(asyncio.ensure_future(wish(bench, lambda r: promoted_by_hand(r, "it is urgent", bench.now))))

    ended = await bench.run(begun, meddle=hurry)
    assert (ended.phase, ended.reason) == (Phase.PROMOTED, "promoted by hand: it is urgent")


@pytest.mark.parametrize(("change", "ends"), [(promoted_by_hand, Phase.PROMOTED), (aborted, Phase.ROLLED_BACK)])
async def test_no_wish_waits_for_a_gate_that_is_being_asked(tmp_path: Path, change: Any, ends: Phase) -> None:
    """A load gate may measure for half an hour; who promotes or aborts does not need its answer."""
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    tasks: list[Any] = []

    async def endless(context: GateContext) -> GateEvidence:
        now = () if change is aborted else (bench.now,)
        tasks.append(asyncio.ensure_future(wish(bench, lambda r: change(r, "by hand", *now))))
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    bench.gate.evidence = endless  # type: ignore[method-assign]
    began = bench.now
    ended = await bench.run(await bench.begin(NEW, replace(SETTINGS, gates={"eval": {"suite": "x"}})))
    assert (ended.phase, len(tasks)) == (ends, 1)
    assert bench.now - began < 60
