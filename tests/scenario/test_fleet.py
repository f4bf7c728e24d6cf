"""Rollouts over a region of the shape of a cluster: many servers a slot, slow verbs, integer weights, a change feed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.names import Address
from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.rollout.operator import aborted
from reconciler.core.rollout.steps import Wait
from reconciler.engine.loop import Snapshot
from tests.scenario.test_rollouts import SETTINGS as HASTY
from tests.support.builders.releases import ENVIRONMENT, release
from tests.support.fakes.fleet import FleetPlatform
from tests.support.fakes.loop_world import Died, LoopWorld
from tests.support.fakes.platform import Call, Fault

OLD, NEW = release("old", prompt="p1"), release("new", prompt="p2")
SETTINGS = replace(HASTY, step_max_s=400, start_timeout_s=60)
SWAP = replace(SETTINGS, steps_pct=(10.0, 25.0, 50.0), surge="swap", surge_replicas=1)


class Fleet(LoopWorld):
    """A world whose regions are fleets; `weighed`: each share with the servers of both slots."""

    def __init__(self, home: Path, *, regions: tuple[str, ...] = ("local",), start_s: float = 5.0) -> None:
        super().__init__(home, regions=regions, platform=FleetPlatform)
        self.weighed: list[tuple[float, int, int]] = []
        self.start_s = start_s

    @property
    def fleet(self) -> FleetPlatform:
        """Return the first region."""
        found = self.platforms[self.regions[0]]
        assert isinstance(found, FleetPlatform)
        return found

    async def started(self, replicas: int, settings: RolloutSettings) -> Rollout:
        """Put a champion of so many servers in place, and return a rollout that was not stored yet."""
        await self.serve(OLD, replicas=replicas)
        self.fleet.faults[NEW.id] = Fault(start_s=self.start_s)
        self.fleet.faults[OLD.id] = Fault(start_s=self.start_s)
        before = self.fleet.before

        async def look(call: Call) -> None:
            if call.verb == "weigh":
                ours, theirs = (self.fleet.servers("chat", slot)[0] for slot in ("b", "a"))
                self.weighed.append((call.weights_pct["b"], ours, theirs))
            if before:
                await before(call)

        self.fleet.before = look
        return await self.begin(NEW, settings)

    async def kinds(self) -> list[str]:
        """Return the kinds of the ledger's entries."""
        return [entry.kind async for entry in self.store.entries(ENVIRONMENT)]


def carry(share_pct: float, steady: int) -> int:
    """Return the servers that a share needs, by the contract's formula."""
    return max(1, math.ceil(share_pct / 100 * steady - 1e-9))


async def test_the_challengers_servers_grow_with_its_share_beside_a_whole_champion(tmp_path: Path) -> None:
    world = Fleet(tmp_path)
    ended = await world.run(await world.started(50, SETTINGS))
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert [share for share, _, _ in world.weighed] == [10.0, 50.0, 100.0]
    for share, ours, theirs in world.weighed:
        assert ours >= carry(share, 50), "no weight rises before its servers are ready"
        assert theirs == 50, "the champion keeps all of its own"
    assert world.fleet.peak == 100
    assert world.fleet.servers("chat", "b") == (50, 50)
    assert [k for k in await world.kinds() if k.startswith("scale")] == ["scale.before", "scale.after"] * 2


async def test_the_servers_of_a_slot_are_one_arm_while_they_come_and_go(tmp_path: Path) -> None:
    """Machines go every few seconds on both sides; what each one counted is summed, and a good release is promoted."""
    world, gone = Fleet(tmp_path), [0]
    begun = await world.started(20, replace(SETTINGS, steps_pct=(50.0,)))

    def evict(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].phase is Phase.SHIFTING and int(world.now) % 7 == 0 and gone[0] < 12:
            gone[0] += 1
            world.fleet.evict("chat", "ab"[gone[0] % 2])

    ended = await world.run(begun, meddle=evict)
    assert gone[0] == 12
    assert ended.phase is Phase.PROMOTED, ended.reason


async def test_a_slow_challenger_of_many_servers_is_found(tmp_path: Path) -> None:
    world = Fleet(tmp_path)
    world.arms = {"new": (0.0, 0.15)}
    ended = await world.run(await world.started(20, SETTINGS))
    assert ended.phase is Phase.ROLLED_BACK
    assert "ttft" in ended.reason
    assert world.fleet.endpoints["chat"].weights == {"a": 100.0, "b": 0.0}
    assert world.fleet.servers("chat", "b") == (0, 0)


async def crashing(home: Path, count: int) -> Rollout:
    world = Fleet(home)
    done: list[int] = []

    def crash(snapshot: Snapshot) -> None:
        if (
            snapshot.rollout.regions[0].phase is Phase.SHIFTING
            and not done
            and world.weighed[-1:]
            and world.weighed[-1][0] == 50.0
        ):
            done.append(count)
            world.fleet.crash("chat", "b", count)

    return await world.run(await world.started(50, SETTINGS), meddle=crash)


async def test_one_server_of_many_may_crash_and_more_than_a_tenth_may_not(tmp_path: Path) -> None:
    fine = await crashing(tmp_path / "one", 2)
    assert fine.phase is Phase.PROMOTED, fine.reason
    bad = await crashing(tmp_path / "many", 3)
    assert bad.phase is Phase.ROLLED_BACK
    assert "3 of the challenger's 25 servers crashed" in bad.reason


async def losing(home: Path, phase: Phase, *, again_s: float = 5.0) -> tuple[Rollout, Fleet]:
    """Return a rollout whose challenger loses its only server with its machine in a phase, and its world."""
    world, gone = Fleet(home), list[Phase]()
    begun = await world.started(1, SETTINGS)

    def evict(snapshot: Snapshot) -> None:
        seen = snapshot.observed.get("local")
        ours = seen.slots["b"] if seen else None
        share = 100.0 if phase is Phase.BAKING else 10.0
        if snapshot.rollout.regions[0].phase is phase and ours and ours.warm and ours.weight_pct == share and not gone:
            gone.append(phase)
            world.fleet.faults[NEW.id] = Fault(start_s=again_s)
            world.fleet.evict("chat", "b")

    ended = await world.run(begun, meddle=evict)
    assert gone
    return ended, world


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
async def test_a_challenger_that_loses_its_only_server_with_its_machine_goes_on_on_another(
    tmp_path: Path, phase: Phase
) -> None:
    ended, world = await losing(tmp_path, phase)
    assert ended.phase is Phase.PROMOTED, ended.reason
    shares = [share for share, _, _ in world.weighed]
    assert 0.0 in shares, "the champion had the traffic meanwhile"
    assert shares.count(100.0) == (2 if phase is Phase.BAKING else 1)


async def test_without_another_machine_a_person_is_asked_and_nothing_is_rolled_back(tmp_path: Path) -> None:
    ended, world = await losing(tmp_path, Phase.SHIFTING, again_s=1e6)
    assert ended.phase is Phase.PAUSED
    assert "lost its server with its machine, and no other one was ready after 60 s" in ended.reason
    assert world.fleet.endpoints["chat"].weights == {"a": 100.0, "b": 0.0}


async def test_without_machines_for_the_next_share_a_person_is_asked_and_the_present_one_stays_watched(
    tmp_path: Path,
) -> None:
    world = Fleet(tmp_path)
    begun = await world.started(10, SETTINGS)
    world.fleet.room = 13
    ended = await world.run(begun)
    assert ended.phase is Phase.PAUSED
    assert "3 of 5 servers are ready for the next share" in ended.reason
    assert world.fleet.endpoints["chat"].weights == {"a": 100.0, "b": 0.0}, "nobody watches a paused challenger"


async def test_a_swap_never_has_more_than_the_steady_need_and_its_surge(tmp_path: Path) -> None:
    world, proven = Fleet(tmp_path), list[Phase | str]()

    def look(snapshot: Snapshot) -> None:
        slots = world.fleet.endpoints["chat"].slots
        if "b" in slots and slots["a"].wanted < 4 and not proven:  # type: ignore[attr-defined]
            proven.append(str(snapshot.evidence["local"].canary) if snapshot.evidence else "")

    ended = await world.run(await world.started(4, SWAP), meddle=look)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert world.fleet.peak <= 5
    for share, ours, theirs in world.weighed:
        assert ours >= carry(share, 4)
        assert theirs >= (carry(100 - share, 4) if share < 100 else 0)
    early = [share for share, _, theirs in world.weighed if theirs == 4]
    assert early == [10.0, 25.0, 50.0][: len(early)]
    assert max(early) >= 25.0, "what fits beside a whole champion takes nothing from it"
    assert world.fleet.servers("chat", "b") == (4, 4)


async def test_a_swap_goes_back_by_weight_as_far_as_the_champion_carries_and_then_by_servers(tmp_path: Path) -> None:
    world = Fleet(tmp_path)

    def spoil(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].phase is Phase.BAKING and world.weighed[-1][0] == 100.0:
            world.arms["new"] = (0.6, 0.05)

    ended = await world.run(await world.started(4, SWAP), meddle=spoil)
    assert ended.phase is Phase.ROLLED_BACK, ended.reason
    back = world.weighed[[share for share, _, _ in world.weighed].index(100.0) + 1 :]
    assert [share for share, _, _ in back] == sorted((share for share, _, _ in back), reverse=True)
    assert back[0][0] == 75.0, "one server of four carries a quarter at once"
    for share, _, theirs in back:
        assert theirs >= carry(100 - share, 4)
    assert world.fleet.peak <= 5
    assert world.fleet.endpoints["chat"].weights == {"a": 100.0, "b": 0.0}
    assert world.fleet.servers("chat", "a") == (4, 4)


async def test_a_challenger_that_is_gone_keeps_no_share_of_a_swap(tmp_path: Path) -> None:
    world = Fleet(tmp_path)

    def kill(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].phase is Phase.BAKING and world.weighed[-1][0] == 100.0:
            world.fleet.kill("chat", "b")

    ended = await world.run(await world.started(4, SWAP), meddle=kill)
    assert ended.phase is Phase.ROLLED_BACK, ended.reason
    back = [share for share, _, _ in world.weighed]
    assert back[back.index(100.0) + 1] == 0.0


async def test_a_verb_that_never_ends_asks_a_person_and_an_abort_still_goes_back(tmp_path: Path) -> None:
    world = Fleet(tmp_path)
    begun = await world.started(4, SETTINGS)
    world.fleet.stuck = {"weigh"}
    ended = await world.run(begun)
    assert ended.phase is Phase.PAUSED
    assert "ROLL-010" in ended.reason
    assert "the control plane is at work on weigh" in ended.reason
    world.fleet.stuck = set()
    stored = await world.store.rollout(begun.id)
    assert stored is not None
    gone_back = await world.run(aborted(ended, "enough"))
    assert gone_back.phase in (Phase.PAUSED, Phase.ROLLED_BACK)


async def test_what_a_verb_waits_for_is_shown_and_the_ledger_tells_of_it_once(tmp_path: Path) -> None:
    world, shown = Fleet(tmp_path), set[str]()

    def look(snapshot: Snapshot) -> None:
        shown.update(step.reason for step in snapshot.steps if isinstance(step, Wait))

    begun = await world.started(4, SETTINGS)
    world.fleet.slow_s = 6.0
    ended = await world.run(begun, meddle=look)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert "start: the control plane is at work on start" in shown
    assert "weigh: the control plane is at work on weigh" in shown
    kinds = await world.kinds()
    assert kinds.count("start.before") == kinds.count("start.after") == 1
    assert kinds.count("weigh.before") == kinds.count("weigh.after") == 3


async def test_an_owner_that_dies_while_a_verb_is_at_work_is_followed_by_one_that_asks_again(tmp_path: Path) -> None:
    world = Fleet(tmp_path)
    begun = await world.started(4, replace(SETTINGS, start_timeout_s=300))
    world.fleet.slow_s = 6.0

    def die(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].underway:
            raise Died("in the middle of a verb")

    for _ in range(3):
        try:
            await world.run(begun, meddle=die)
        except Died:
            world.die_and_forget()
            break
    ended = await world.run(begun, owner="two")
    assert ended.phase is Phase.PROMOTED, ended.reason


async def test_an_endpoint_is_read_when_it_has_changed_and_now_and_then(tmp_path: Path) -> None:
    """Seconds of a bake in which nothing happens cost no reading; a feed that has forgotten costs one."""
    world, turns = Fleet(tmp_path), [0]

    def count(snapshot: Snapshot) -> None:
        turns[0] += 1

    begun = await world.started(4, replace(SETTINGS, bake_s=120))
    ended = await world.run(begun, meddle=count)
    assert ended.phase is Phase.PROMOTED, ended.reason
    assert world.fleet.reads < turns[0] / 4, (world.fleet.reads, turns[0])
    everything = await world.fleet.changes("0")
    assert everything.endpoints is None, "a cursor that is too old is told so"


async def test_regions_of_both_kinds_are_planned_by_what_they_can(tmp_path: Path) -> None:
    from tests.support.builders.declared import Declared

    world = Fleet(tmp_path)
    declared = Declared(world)
    more: Mapping[str, Any] = {"replicas": {"min": 3, "max": 5}}
    declared.serve("chat", "v1", rollout={"steps_pct": [10, 50]}, **more)
    plan = await declared.plan()
    assert not plan.denied
    starts = [step for step in plan.steps if step.kind == "start"]
    assert len(starts) == 1
    outcomes = await declared.apply(plan)
    assert outcomes["chat"].good
    assert world.fleet.servers("chat", "a") == (3, 3)
    swapping = {"surge": "swap", "steps_pct": [50], "surge_replicas": 1}
    declared.serve("chat", "v2", rollout=swapping, **more)
    refused = await declared.plan()
    assert [f.policy for f in refused.denied] == ["ROLL-012"]
    declared.serve("chat", "v2", rollout={**swapping, "steps_pct": [10, 50]}, **more)
    told = await declared.plan()
    assert [f.policy for f in told.findings if f.policy.startswith("ROLL-01")] == ["ROLL-013"]
    assert "33 % of the traffic rolls back by weight" in next(
        f.message for f in told.findings if f.policy == "ROLL-013"
    )
    assert Address(ENVIRONMENT, "local", "chat") in {c.address for c in told.changes}
