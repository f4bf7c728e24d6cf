"""Planning and applying whole environments: several endpoints, owners and operators over one world in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.finding import Finding
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.change import Action
from reconciler.core.plan.plan import Scope
from reconciler.operations.roll_back import RollBack
from reconciler.operations.steer import Wish, note, steer
from reconciler.ports import NewEntry
from tests.support.builders.declared import Declared, never_asked
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.platform import Call


async def two(tmp_path: Path) -> Declared:
    """Return an environment in which `chat` and `search` serve v1."""
    declared = Declared(LoopWorld(tmp_path))
    declared.serve("chat", "v1")
    declared.serve("search", "v1")
    assert all(outcome.good for outcome in (await declared.apply()).values())
    return declared


async def test_a_plan_is_carried_out_and_then_nothing_is_left(tmp_path: Path) -> None:
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    done = await declared.apply()
    assert (list(done), done["chat"].good) == (["chat"], True)
    assert declared.serving("chat") == {"v2": 100.0}
    assert not (await declared.plan()).pending
    assert declared.registry.marked[-1] == "file:models/v2"


async def test_what_ails_one_endpoint_stops_no_other(tmp_path: Path) -> None:
    """Defect 11: search cannot be stored; chat is promoted all the same, and the error is told."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    declared.serve("search", "v2")
    create = declared.bench.store.create_rollout

    async def refused(environment: str, endpoint: str, *args: Any, **more: Any) -> Any:
        if endpoint == "search":
            raise SluiceError("STORE-007", what="the row is damaged")
        return await create(environment, endpoint, *args, **more)

    declared.bench.store.create_rollout = refused  # type: ignore[method-assign]
    done = await declared.apply()
    assert declared.serving("chat") == {"v2": 100.0}
    error = done["search"].error
    assert (done["chat"].good, done["search"].good, error and error.code) == (True, False, "STORE-007")


async def test_other_content_behind_the_same_reference_is_not_what_was_planned(tmp_path: Path) -> None:
    """Defect 13: between plan and apply somebody registers other weights under the same name."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    plan = await declared.plan()
    declared.registry.holds["file:models/v2"] = "something else"
    done = await declared.apply(plan)
    assert done["chat"].error is not None
    assert done["chat"].error.code == "PLAN-003"
    assert declared.serving("chat") == {"v1": 100.0}


async def test_a_policy_that_denies_by_now_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 13: what was allowed when the plan was made may be denied when its turn comes."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    plan = await declared.plan()
    denies = [Finding("FREEZE-001", "deny", f"{ENVIRONMENT}/local/chat", "nothing moves from now on")]
    monkeypatch.setattr("reconciler.planning.planner.check_plan", lambda spec, changes, **_: denies if changes else [])
    done = await declared.apply(plan)
    assert done["chat"].error is not None
    assert done["chat"].error.code == "POLICY-001"
    assert declared.serving("chat") == {"v1": 100.0}


async def test_a_second_apply_of_another_release_does_its_own_work_afterwards(tmp_path: Path) -> None:
    """Defect 23: who only watched another release's promotion has not done what it was asked to."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    other = Declared(declared.bench, {**declared.endpoints}, registry=declared.registry)
    other.serve("chat", "v3")
    plan = await other.plan()
    async with declared.bench.traffic():
        first = asyncio.create_task(declared.applier().apply(await declared.plan()))
        await asyncio.sleep(3)
        second = await other.applier().apply(plan)
    assert (await first)[0].good
    assert any("watching" in message for message in other.messages)
    assert [outcome.good for outcome in second] == [True]
    assert declared.serving("chat") == {"v3": 100.0}


async def test_a_narrower_scope_does_not_change_what_is_wanted(tmp_path: Path) -> None:
    """Defect 23: `--region two` where chat is not declared does not abort chat's rollout in region one."""
    declared = Declared(LoopWorld(tmp_path, regions=("one", "two")))
    declared.serve("chat", "v1", regions=["one"])
    declared.serve("search", "v1")
    await declared.apply()
    declared.serve("chat", "v2", regions=["one"])
    declared.bench.requests_a_second = 0
    paused = await declared.apply(scope=Scope(("chat",), ()))
    assert paused["chat"].rollout is not None
    assert paused["chat"].rollout.phase is Phase.PAUSED
    await declared.apply(scope=Scope((), ("two",)))
    (stored,) = await declared.bench.store.rollouts(ENVIRONMENT, endpoint="chat", active=True)
    assert stored.body["intent"] == "none"


async def test_every_rollout_in_flight_is_seen(tmp_path: Path) -> None:
    """Defect 24."""
    declared = await two(tmp_path)
    for n in range(120):
        lease = await declared.bench.store.acquire(f"{ENVIRONMENT}/e{n}", "me", ttl_s=9)
        await declared.bench.store.create_rollout(ENVIRONMENT, f"e{n}", f"r{n}", {"n": n}, lease=lease)
    assert len(await declared.bench.store.rollouts(ENVIRONMENT, active=True)) == 120


async def test_a_serving_release_that_cannot_be_read_is_no_first_deployment(tmp_path: Path) -> None:
    """Defect 14: the plan is denied, and nothing is removed."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    observe = declared.bench.platforms["local"].observe

    async def damaged(endpoints: Any = None) -> Any:
        found = []
        for seen in [each async for page in observe(endpoints) for each in page]:
            slots = {
                name: replace(slot, release=None, replicas=(), damage="slot.json is damaged")
                if slot.weight_pct
                else slot
                for name, slot in seen.slots.items()
            }
            found.append(replace(seen, slots=slots) if seen.address.endpoint == "chat" else seen)
        yield tuple(found)

    declared.bench.platforms["local"].observe = damaged  # type: ignore[method-assign]
    plan = await declared.plan()
    assert [f.policy for f in plan.denied] == ["ROLL-005"]
    assert "slot.json is damaged" in plan.denied[0].message
    done = await declared.apply(plan)
    assert done["chat"].error is not None
    assert declared.serving("chat") == {"v1": 100.0}


async def test_a_plan_after_an_interrupted_and_paused_apply_shows_how_it_goes_on(tmp_path: Path) -> None:
    """Interrupted at 50 %, then paused by hand: `plan` and `apply` work, for this endpoint and for all others."""
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    applier = declared.applier()

    def leave(snapshot: Any) -> None:
        if snapshot.observed.get("local") and snapshot.observed["local"].weights.get("b") == 50:
            applier.leave()

    declared.watch = leave
    async with declared.bench.traffic():
        await applier.apply(await declared.plan())
    await note(declared.bench.store, ENVIRONMENT, "chat", Wish("pause", "x"))
    declared.watch = lambda snapshot: None
    plan = await declared.plan()
    assert [c.action for c in plan.changes if c.address.endpoint == "chat"] == [Action.ROLLOUT]
    assert [s.kind for s in plan.steps][-1] == "finish"
    done = await declared.apply(plan)
    assert done["chat"].rollout is not None
    assert done["chat"].rollout.phase is Phase.PAUSED, "a pause is a person's: apply does not take it back"


async def test_a_region_that_left_the_file_is_still_reached(tmp_path: Path) -> None:
    """Defect 15: the file forgets region two while it is half way; an abort takes it back there as well."""
    declared = Declared(LoopWorld(tmp_path, regions=("one", "two")), waves=[["one", "two"]])
    declared.serve("chat", "v1")
    await declared.apply()
    declared.serve("chat", "v2")
    applier = declared.applier()

    def die(snapshot: Any) -> None:
        if declared.bench.platforms["two"].endpoints["chat"].weights["b"] == 50:
            raise ZeroDivisionError("the process ends here")

    declared.watch = die
    for platform in declared.bench.platforms.values():
        platform.before = refuse_to_park(platform.before)
    async with declared.bench.traffic():
        with pytest.raises(ZeroDivisionError):
            await applier.apply(await declared.plan())
    assert declared.serving("chat", "two") == {"v1": 50.0, "v2": 50.0}
    declared.watch, declared.forgotten, declared.waves = lambda snapshot: None, ("two",), [["one"]]
    for platform in declared.bench.platforms.values():
        platform.before = None
    declared.bench.waited += 60
    steered = await steer(
        declared.bench.store, declared.applier(), ENVIRONMENT, "chat", Wish("abort", "region two is closed")
    )
    assert steered.outcome is not None
    assert steered.outcome.rollout is not None
    assert steered.outcome.rollout.phase is Phase.ROLLED_BACK, steered.outcome.rollout.reason
    assert declared.serving("chat", "one") == declared.serving("chat", "two") == {"v1": 100.0}


def refuse_to_park(usual: Any) -> Any:
    """Refuse to take weight back, as if the process had been killed with `kill -9`."""

    async def before(call: Call) -> None:
        if call.verb == "weigh" and call.weights_pct.get("b") == 0 and call.weights_pct.get("a") == 100:
            raise SluiceError("PLAT-010", what="cannot prompt: not a terminal", retryable=True)
        await usual(call)

    return before


async def test_a_server_that_came_back_by_itself_is_no_drift(tmp_path: Path) -> None:
    """Defect 26: drift is only over what apply can mend."""
    declared = await two(tmp_path)
    declared.bench.platforms["local"].crash("chat", "a")
    plan = await declared.plan()
    assert (plan.drift, plan.pending) == ((), ())


async def test_old_facts_are_remembered(tmp_path: Path) -> None:
    """Defect 17: thousands of entries later drift is still noticed."""
    declared = await two(tmp_path)
    declared.bench.platforms["local"].endpoints["chat"].weights.update(a=0.0)
    for n in range(2100):
        entry = NewEntry(ENVIRONMENT, at="", actor="a", kind="k", address=f"{ENVIRONMENT}/local/x", summary=str(n))
        await declared.bench.store.append(entry)
    drifted = {d.path for d in await declared.planner().drift(Scope())}
    assert "slots.a.weight_pct" in drifted


async def rolled_back(declared: Declared, *endpoints: str) -> Any:
    async with declared.bench.traffic():
        work = RollBack(
            declared.planner(), declared.bench.store, declared.applier(), to=None, reason="tests", agree=never_asked
        )
        return await work.run(Scope(tuple(endpoints), ()))


async def test_a_rollback_of_everything_skips_what_has_no_predecessor(tmp_path: Path) -> None:
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    await declared.apply()
    found = {back.endpoint: back for back in await rolled_back(declared)}
    assert found["chat"].good
    assert declared.serving("chat") == {"v1": 100.0}
    assert found["search"].skipped
    assert found["search"].good
    assert found["chat"].outcome is not None
    assert found["chat"].outcome.rollout is not None
    assert found["chat"].outcome.rollout.reason.endswith("serves again: tests")


async def test_a_second_rollback_does_not_go_back_one_release_more(tmp_path: Path) -> None:
    declared = await two(tmp_path)
    for model in ("v2", "v3"):
        declared.serve("chat", model)
        await declared.apply()
    await rolled_back(declared, "chat")
    assert declared.serving("chat") == {"v2": 100.0}
    (back,) = await rolled_back(declared, "chat")
    assert back.outcome is not None
    assert back.outcome.error is not None
    assert back.outcome.error.code == "ROLL-004"
    assert "--to" in back.outcome.error.problem.do
    assert declared.serving("chat") == {"v2": 100.0}


async def test_a_rollback_in_the_first_second_of_another_apply_is_heard(tmp_path: Path) -> None:
    declared = await two(tmp_path)
    declared.serve("chat", "v2")
    asked: list[Any] = []

    async def at_once(call: Call) -> None:
        if call.verb == "start" and call.address.endpoint == "chat" and not asked:
            asked.append(asyncio.create_task(rolled_back(declared, "chat")))

    usual = declared.bench.platforms["local"].after
    declared.bench.platforms["local"].after = at_once
    done = await declared.apply()
    declared.bench.platforms["local"].after = usual
    (back,) = await asked[0]
    assert back.good
    assert done["chat"].rollout is not None
    assert done["chat"].rollout.phase is Phase.ROLLED_BACK
    assert declared.serving("chat") == {"v1": 100.0}


async def test_a_plan_says_what_nothing_publishes_and_which_steps_are_shorter_than_a_look(tmp_path: Path) -> None:
    """Defects 33 and 45: an index reaches no application by this build, and a step waits for the judge's first look."""
    declared = await two(tmp_path)
    index = {"ref": "file:models/index", "built_at": "2026-11-20T04:00:00Z", "max_age_h": 24}
    how = {"step_min_s": 1, "judge": {"tick_s": 5}}
    declared.serve("chat", "v2", release={"model": "file:models/v2", "index": index}, rollout=how)
    found = {f.policy: (f.level, f.message) for f in (await declared.plan()).findings}
    unpublished = "this build publishes no index: what applications read does not change with it"
    assert found["BUILD-002"] == ("warn", unpublished)
    assert found["ROLL-008"] == ("warn", "step_min_s is 1 and the judge looks every 5 s; a step waits for it")
