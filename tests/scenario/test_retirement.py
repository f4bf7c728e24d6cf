"""What a promotion leaves warm is retired when its time is over, and not a moment before; then going back is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.change import Action, MovesBy
from reconciler.core.plan.plan import Plan, Scope
from reconciler.operations.roll_back import Agree, Back, RollBack
from tests.support.builders.declared import Declared, never_asked
from tests.support.builders.releases import release
from tests.support.fakes.loop_world import LoopWorld

KEEP_WARM_S = 600.0


async def promoted(tmp_path: Path, regions: Sequence[str] = ("local",)) -> Declared:
    """Return an environment in which v2 has just replaced v1."""
    declared = Declared(LoopWorld(tmp_path, regions=tuple(regions)))
    for model in ("v1", "v2"):
        declared.serve("chat", model, rollout={"keep_warm_s": KEEP_WARM_S})
        assert (await declared.apply())["chat"].good
    return declared


def loaded(declared: Declared, region: str = "local") -> set[str]:
    """Return the models that lie in slots."""
    slots = declared.bench.platforms[region].endpoints["chat"].slots.values()
    return {slot.release.model.ref.rpartition("/")[2] for slot in slots}


def moves(plan: Plan) -> list[tuple[Action, MovesBy]]:
    return [(change.action, change.moves_by) for change in plan.pending]


async def back(declared: Declared, agree: Agree = never_asked) -> Back:
    async with declared.bench.traffic():
        work = RollBack(
            declared.planner(), declared.bench.store, declared.applier(), to=None, reason="tests", agree=agree
        )
        (found,) = await work.run(Scope(("chat",), ()))
    return found


async def test_a_slot_stays_warm_for_its_time_and_then_is_retired(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    assert not (await declared.plan()).pending, "nothing is due yet"
    await asyncio.sleep(KEEP_WARM_S)
    plan = await declared.plan()
    assert moves(plan) == [(Action.UPDATE, MovesBy.RETIRE)]
    assert [step.kind for step in plan.steps if step.kind == "stop"] == ["stop"]
    assert "weigh" not in [step.kind for step in plan.steps], "traffic stays where it is"
    assert (await declared.apply())["chat"].good
    assert (loaded(declared), declared.serving("chat")) == ({"v2"}, {"v2": 100.0})
    assert not (await declared.plan()).pending


async def test_the_same_world_gives_the_same_plan(tmp_path: Path) -> None:
    """A plan of before the time was over is stale after it, and only then."""
    declared = await promoted(tmp_path)
    first, again = await declared.plan(), await declared.plan()
    assert first.digest == again.digest
    await asyncio.sleep(KEEP_WARM_S)
    due = await declared.plan()
    await asyncio.sleep(KEEP_WARM_S)
    assert (await declared.plan()).digest == due.digest != first.digest


async def test_a_repair_in_between_does_not_lose_what_is_due(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    slot = next(s for s, w in declared.bench.platforms["local"].endpoints["chat"].weights.items() if w)
    declared.bench.platforms["local"].endpoints["chat"].slots[slot].running = False
    assert (await declared.apply())["chat"].good, "the serving server is started again"
    await asyncio.sleep(KEEP_WARM_S)
    assert moves(await declared.plan()) == [(Action.UPDATE, MovesBy.RETIRE)]


async def test_every_region_keeps_its_own_time(tmp_path: Path) -> None:
    declared = await promoted(tmp_path, regions=("one", "two"))
    await asyncio.sleep(2 * KEEP_WARM_S)
    done = await declared.apply(scope=Scope((), ("one",)))
    assert done["chat"].good
    assert (loaded(declared, "one"), loaded(declared, "two")) == ({"v2"}, {"v1", "v2"})


async def test_a_new_release_takes_the_slot_and_needs_no_retirement(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    await asyncio.sleep(KEEP_WARM_S)
    declared.serve("chat", "v3", rollout={"keep_warm_s": KEEP_WARM_S})
    assert [action for action, _ in moves(await declared.plan())] == [Action.ROLLOUT]
    assert (await declared.apply())["chat"].good
    assert loaded(declared) == {"v2", "v3"}


async def test_a_rollback_to_a_warm_slot_asks_nobody(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    assert (await back(declared)).good
    assert declared.serving("chat") == {"v1": 100.0}


async def test_after_the_retirement_a_rollback_is_a_cold_load_and_is_asked_for(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    await asyncio.sleep(KEEP_WARM_S)
    await declared.apply()
    asked: list[tuple[str, Sequence[str]]] = []

    def no(endpoint: str, release: str, regions: Sequence[str]) -> None:
        asked.append((endpoint, regions))
        raise SluiceError("ROLL-009", what="not now")

    refused = await back(declared, no)
    assert asked == [("chat", ["local"])]
    assert refused.outcome is not None
    assert refused.outcome.error is not None
    assert declared.serving("chat") == {"v2": 100.0}, "nothing was begun"
    done = await back(declared, lambda endpoint, release, regions: None)
    assert done.outcome is not None
    assert done.outcome.rollout is not None
    assert (done.good, done.outcome.rollout.phase) == (True, Phase.PROMOTED)
    assert declared.serving("chat") == {"v1": 100.0}


async def test_what_no_promotion_left_there_is_nobodys_to_empty(tmp_path: Path) -> None:
    declared = await promoted(tmp_path)
    await asyncio.sleep(KEEP_WARM_S)
    live = declared.bench.platforms["local"].endpoints["chat"]
    idle = next(slot for slot, weight in live.weights.items() if not weight)
    live.slots[idle].release = release("experiment")
    assert not (await declared.plan()).pending


async def test_what_no_slot_can_do_here_is_denied_and_never_done_otherwise(tmp_path: Path) -> None:
    """`swap` takes replicas from the champion; a slot of this platform has one server, so there is nothing to take."""
    declared = await promoted(tmp_path)
    declared.serve("chat", "v3", rollout={"surge": "swap"})
    (denied,) = [f for f in (await declared.plan()).findings if f.level == "deny"]
    assert (denied.policy, "surge swap" in denied.message) == ("BUILD-001", True)


async def test_a_repair_that_was_planned_before_empties_nothing(tmp_path: Path) -> None:
    """What was approved was a start of the serving server; the slot became due while somebody read the plan."""
    declared = await promoted(tmp_path)
    live = declared.bench.platforms["local"].endpoints["chat"]
    live.slots[next(s for s, weight in live.weights.items() if weight)].running = False
    approved = await declared.plan()
    assert "retire" not in {str(moves_by) for _, moves_by in moves(approved)}
    await asyncio.sleep(KEEP_WARM_S)
    assert (await declared.apply(approved))["chat"].good
    assert loaded(declared) == {"v1", "v2"}
    assert moves(await declared.plan()) == [(Action.UPDATE, MovesBy.RETIRE)], "it is planned next, and said"


async def test_a_rollback_to_a_server_that_runs_asks_nobody(tmp_path: Path) -> None:
    """It was restarted, so it is warmed up again: seconds, and no load of the model for a person to agree to."""
    declared = await promoted(tmp_path)
    live = declared.bench.platforms["local"].endpoints["chat"]
    live.slots[next(s for s, weight in live.weights.items() if not weight)].generation += 1
    assert (await back(declared)).good
    assert declared.serving("chat") == {"v1": 100.0}
