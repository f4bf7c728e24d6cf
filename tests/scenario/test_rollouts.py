"""Whole rollouts over a world in memory: each way in which one ends, and what is live and recorded afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.model.rollout import Phase, Rollout, rollout_from_json, rollout_to_json
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.rollout.operator import aborted, paused, resumed
from reconciler.ports import NewEntry, SlotAddress, finished
from tests.support.builders.releases import ENVIRONMENT, release
from tests.support.fakes.loop_world import Died, LoopWorld
from tests.support.fakes.platform import Fault

OLD, NEW = release("old", prompt="p1"), release("new", prompt="p2")
JUDGE = {
    "alpha": 0.01, "beta": 0.02, "noise": 0.0, "warmup_s": 0, "tick_s": 2,
    "protect": [{"metric": "error_rate", "ratio": 3}, {"metric": "ttft", "ratio": 1.5}],
}  # fmt: skip
SETTINGS = RolloutSettings(
    steps_pct=(10.0, 50.0), step_min_s=4, step_max_s=200, bake_s=10, start_timeout_s=30, warmup_requests=2,
    judge=JUDGE, slo={"error_rate": 0.05},
)  # fmt: skip


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: hundreds of ledgers are written there, each entry synced."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="sluice-test-") as folder:
        yield Path(folder)


async def rolled(bench: LoopWorld, *, settings: RolloutSettings = SETTINGS, meddle: Any = None) -> Rollout:
    await bench.serve(OLD)
    return await bench.run(await bench.begin(NEW, settings), meddle=meddle)


async def serving(bench: LoopWorld, region: str = "local") -> dict[str, float]:
    """Return the share of traffic by model word."""
    platform = bench.platforms[region]
    return {
        platform.endpoints["chat"].slots[slot].release.model.ref.rpartition("/")[2]: weight
        for slot, weight in platform.endpoints["chat"].weights.items()
        if weight
    }


async def kinds(bench: LoopWorld) -> list[str]:
    verified = await bench.store.verify(ENVIRONMENT)
    assert verified.ok, verified
    return [entry.kind async for entry in bench.store.entries(ENVIRONMENT)]


async def test_a_good_challenger_is_promoted_and_the_old_one_kept_warm(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    ended = await rolled(bench)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert await serving(bench) == {"new": 100.0}
    assert set(bench.platforms["local"].endpoints["chat"].slots) == {"a", "b"}
    assert bench.registry.marked == ["file:models/new"] * 2, "two aliases"
    steps = await kinds(bench)
    assert [k for k in steps if k.startswith("weigh")] == ["weigh.before", "weigh.after"] * 3
    assert all(sum(w.values()) in (0.0, 100.0) for w in bench.weights_seen)


@pytest.mark.parametrize("arm", [(0.2, 0.05), (0.0, 0.15)], ids=["errors", "slow"])
async def test_a_bad_challenger_is_rolled_back_by_weight(tmp_path: Path, arm: tuple[float, float]) -> None:
    bench = LoopWorld(tmp_path, arms={"new": arm})
    ended = await rolled(bench)
    assert ended.phase is Phase.ROLLED_BACK
    assert await serving(bench) == {"old": 100.0}
    assert ended.regions[0].reason
    assert "a" in bench.platforms["local"].endpoints["chat"].slots, "the champion was never touched"
    assert [c.slot for c in bench.platforms["local"].calls if c.verb == "start"] == ["a", "b"]


async def test_a_challenger_that_rejects_what_the_champion_accepts_is_rolled_back(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path, rejects={"old": 0.02, "new": 0.2})
    ended = await rolled(bench)
    assert (ended.phase, "rejects requests" in ended.reason) == (Phase.ROLLED_BACK, True), ended.reason
    assert await serving(bench) == {"old": 100.0}


async def test_clients_that_are_rejected_by_both_tell_nothing_and_break_no_promise(tmp_path: Path) -> None:
    ended = await rolled(LoopWorld(tmp_path, rejects={"old": 0.1, "new": 0.1}))
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert SETTINGS.slo["error_rate"] < 0.1


@pytest.mark.parametrize(
    ("fault", "says"),
    [(Fault(never_ready=True), "not ready after 30 s"), (Fault(wrong_model=True), "another model")],
    ids=["never ready", "wrong model"],
)
async def test_a_challenger_that_cannot_serve_gets_no_traffic(tmp_path: Path, fault: Fault, says: str) -> None:
    bench = LoopWorld(tmp_path)
    bench.platforms["local"].faults[NEW.id] = fault
    ended = await rolled(bench)
    assert (ended.phase, says in ended.reason) == (Phase.ROLLED_BACK, True), ended.reason
    assert all(w.get("b", 0) == 0 for w in bench.weights_seen)


async def test_a_challenger_that_fails_its_warm_up_gets_no_traffic(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    bench.runtime.warm_error = "the warm-up failed"
    ended = await rolled(bench)
    assert ended.phase is Phase.ROLLED_BACK
    assert "RUN-003" in ended.reason


async def test_a_challenger_that_dies_in_the_canary_is_rolled_back(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)

    def crash(snapshot: Any) -> None:
        if bench.platforms["local"].endpoints["chat"].weights["b"] == 50:
            bench.platforms["local"].crash("chat", "b")

    ended = await rolled(bench, meddle=crash)
    assert (ended.phase, "died" in ended.reason) == (Phase.ROLLED_BACK, True), ended.reason
    assert await serving(bench) == {"old": 100.0}


async def test_no_traffic_is_inconclusive_and_pauses_and_a_person_can_go_on(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path, requests_a_second=0)
    ended = await rolled(bench)
    assert ended.phase is Phase.PAUSED
    assert str(ended.regions[0].verdict) == "INCONCLUSIVE"
    assert await serving(bench) == {"old": 100.0}, "nobody watches a paused challenger, so it has no traffic"
    stored = await bench.store.rollout("r1")
    assert stored is not None
    bench.requests_a_second = 100
    going = resumed(rollout_from_json(stored.body), bench.now)
    await bench.store.save_rollout(stored, rollout_to_json(going), active=True, lease=None)
    assert (await bench.run(going)).phase is Phase.PROMOTED


@pytest.mark.parametrize(("change", "phase"), [(aborted, Phase.ROLLED_BACK), (paused, Phase.PAUSED)])
async def test_a_persons_hand_is_heard(tmp_path: Path, change: Any, phase: Phase) -> None:
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    begun = await bench.begin(NEW, SETTINGS)
    read = bench.store.rollout
    asked: list[str] = []

    async def meanwhile(id: str) -> Any:
        stored = await read(id)
        if stored and not asked and bench.platforms["local"].endpoints["chat"].weights["b"] == 10:
            asked.append(id)
            body = rollout_to_json(change(rollout_from_json(stored.body), "by hand"))
            return await bench.store.save_rollout(stored, body, active=True, lease=None)
        return stored

    bench.store.rollout = meanwhile  # type: ignore[method-assign]
    ended = await bench.run(begun)
    assert (ended.phase, ended.reason) == (phase, "by hand")
    assert await serving(bench) == {"old": 100.0}
    assert ("b" in bench.platforms["local"].endpoints["chat"].slots) is (phase is Phase.PAUSED), "it stays warm"


@pytest.mark.parametrize("verdict", ["FAIL", "INCONCLUSIVE", "ERROR"])
async def test_a_gate_that_does_not_pass_moves_no_traffic(tmp_path: Path, verdict: str) -> None:
    bench = LoopWorld(tmp_path)
    bench.gate.verdict = verdict
    ended = await rolled(bench, settings=replace(SETTINGS, gates={"eval": {"suite": "x"}}))
    assert ended.phase is (Phase.ROLLED_BACK if verdict == "FAIL" else Phase.PAUSED)
    assert bench.gate.asked == (3 if verdict == "ERROR" else 1)
    assert await serving(bench) == {"old": 100.0}


async def test_regions_move_in_waves_and_a_failure_anywhere_rolls_back_everywhere(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path, regions=("one", "two"))
    seen: list[tuple[float, float]] = []

    def spoil(snapshot: Any) -> None:
        one, two = (bench.platforms[r].endpoints["chat"].weights["b"] for r in ("one", "two"))
        seen.append((one, two))
        if two > 0:
            bench.arms["new"] = (0.5, 0.05)

    ended = await rolled(bench, meddle=spoil)
    assert ended.phase is Phase.ROLLED_BACK
    assert max(two for one, two in seen if one < 100) == 0, "the second wave waits for the first"
    assert (100.0, 10.0) in seen
    assert await serving(bench, "one") == await serving(bench, "two") == {"old": 100.0}


async def test_a_region_that_goes_silent_holds_the_rollout(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)

    began: list[float] = []

    def silence(snapshot: Any) -> None:
        weight = bench.platforms["local"].endpoints["chat"].weights["b"]
        if weight == 10 and not began:
            began.append(bench.now)
        silent = bool(began) and bench.now - began[0] < 60
        assert not silent or weight == 10, "nothing moves while it cannot be seen"
        bench.platforms["local"].unreachable = "no answer" if silent else None

    assert (await rolled(bench, meddle=silence)).phase is Phase.PROMOTED
    assert began


async def test_a_first_deployment_serves_everything_and_a_failed_one_leaves_nothing(tmp_path: Path) -> None:
    good = LoopWorld(tmp_path / "good")
    assert (await good.run(await good.begin(NEW, SETTINGS))).phase is Phase.PROMOTED
    assert await serving(good) == {"new": 100.0}
    bad = LoopWorld(tmp_path / "bad")
    bad.platforms["local"].faults[NEW.id] = Fault(never_ready=True)
    assert (await bad.run(await bad.begin(NEW, SETTINGS))).phase is Phase.ROLLED_BACK
    assert bad.platforms["local"].endpoints == {}


async def test_a_writer_that_slept_through_its_lease_cannot_act(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)
    await bench.serve(OLD)
    early = await bench.store.acquire("test/chat", "sleeper", ttl_s=15)
    bench.waited += 100
    assert (await bench.run(await bench.begin(NEW, SETTINGS), owner="two")).phase is Phase.PROMOTED
    address = Address(ENVIRONMENT, "local", "chat")
    writer = bench.adapters().regions["local"].writer
    with pytest.raises(SluiceError, match="LEASE-002"):
        await writer.weigh(address, {"a": 100.0, "b": 0.0}, fence=early.token)
    with pytest.raises(SluiceError, match="LEASE-002"):
        await finished(writer.stop, SlotAddress(address, "a"), fence=early.token)
    entry = NewEntry("test", at="t", actor="a", kind="k", address="x", summary="s")
    with pytest.raises(SluiceError, match="LEASE-002"):
        await bench.store.append(entry, lease=early)
    assert await serving(bench) == {"new": 100.0}


@pytest.mark.parametrize("bad", [False, True], ids=["good challenger", "bad challenger"])
async def test_killed_at_every_write_the_next_process_finishes(fast_path: Path, bad: bool) -> None:
    arms = {"new": (0.3, 0.05)} if bad else {}
    whole = LoopWorld(fast_path / "whole", arms=dict(arms))
    wanted = await rolled(whole)
    points = whole.writes
    assert points > 40, whole.trail
    for point in range(1, points + 1):
        bench = LoopWorld(fast_path / str(point), arms=dict(arms), crash_at=point)
        await bench.serve(OLD)
        begun = await bench.begin(NEW, SETTINGS)
        try:
            await bench.run(begun, owner="one")
            died = False
        except Died:
            died = True
        bench.die_and_forget()
        ended = await bench.run(begun, owner="two") if died else wanted
        assert ended.phase is wanted.phase, (point, bench.trail[point - 1], ended)
        assert await serving(bench) == await serving(whole), (point, bench.trail[point - 1])
        assert all(sum(w.values()) in (0.0, 100.0) for w in bench.weights_seen)
        await kinds(bench)


async def test_a_gate_that_breaks_is_an_error_and_moves_no_traffic(tmp_path: Path) -> None:
    bench = LoopWorld(tmp_path)

    async def broken(context: Any) -> Any:
        bench.gate.asked += 1
        raise ZeroDivisionError("a defect in the gate")

    bench.gate.evidence = broken  # type: ignore[method-assign]
    ended = await rolled(bench, settings=replace(SETTINGS, gates={"eval": {"suite": "x"}}))
    assert (ended.phase, bench.gate.asked) == (Phase.PAUSED, 3)
    assert "ZeroDivisionError" in ended.reason
    assert await serving(bench) == {"old": 100.0}
