"""Whatever happens to the servers of its slots, a rollout never gives weight to servers that are not there."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.model.rollout import Phase
from reconciler.core.model.verdict import Verdict
from tests.support.builders.releases import SETTINGS, endpoint, release, rollout
from tests.unit.core.random_fleet import FLEET_EVENTS, FleetWalk, fleet
from tests.unit.core.random_world import HANDS, Turn

OLD, NEW = release("old", prompt="p1"), release("new", prompt="p2")
VERDICTS = st.sampled_from([Verdict.PASS] * 6 + list(Verdict))
TURN = st.builds(
    Turn,
    event=st.sampled_from(["nothing"] * 20 + list(FLEET_EVENTS) + list(HANDS)),
    between=st.sampled_from(["nothing"] * 20 + list(FLEET_EVENTS)),
    region=st.integers(0, 2),
    seconds=st.integers(1, 30),
    canary=VERDICTS,
    bake=VERDICTS,
    gate=VERDICTS,
    looks=st.integers(0, 2),
    leaning=st.booleans(),
)
QUIET = Turn("nothing", "nothing", 0, 40, Verdict.PASS, Verdict.PASS, Verdict.PASS, looks=1, leaning=False)
FLEETS = {
    "servers": st.integers(2, 20),
    "regions": st.integers(1, 3),
    "surge": st.sampled_from(["follow", "swap"]),
    "spare": st.integers(1, 5),
}


def walk(servers: int, regions: int, surge: str, spare: int) -> FleetWalk:
    how = replace(SETTINGS, steps_pct=(5, 25, 60), start_timeout_s=100, surge=surge, surge_replicas=spare)
    names = ["r1", "r2", "r3"][:regions]
    world = {n: fleet(endpoint({"a": (OLD, 100.0), "b": (None, 0.0)}, region=n), servers) for n in names}
    return FleetWalk(rollout(NEW, world, settings=how), world)


@settings(max_examples=150, deadline=None)
@given(turns=st.lists(TURN, max_size=60), **FLEETS)
def test_no_fate_of_servers_breaks_a_rule(turns, servers, regions, surge, spare) -> None:  # type: ignore[no-untyped-def]
    """The rules of every rollout, and: a weight that rises has its servers, and never more servers than may be."""
    way = walk(servers, regions, surge, spare)
    for turn in turns:
        way.take(turn)
        for name, seen in way.world.items():
            there = sum(max(slot.wanted, len(slot.replicas)) for slot in seen.slots.values())
            assert there <= way.most(name), (seen, way.going)
    way.ends_or_asks(QUIET)


@settings(max_examples=80, deadline=None)
@given(turns=st.lists(TURN, max_size=40), **FLEETS)
def test_when_all_is_well_again_one_release_has_all_its_servers(turns, servers, regions, surge, spare) -> None:  # type: ignore[no-untyped-def]
    way = walk(servers, regions, surge, spare)
    for turn in turns:
        way.take(turn)
    way.mended(QUIET)
    if way.going.phase is Phase.FAILED:
        assert way.going.reason
        return
    wanted = NEW if way.going.phase is Phase.PROMOTED else OLD
    for seen in way.world.values():
        serving = [slot for slot in seen.slots.values() if slot.weight_pct > 0]
        if [slot.release_id for slot in serving] == [None]:
            continue  # the champion's record was lost in a region that this rollout never touched
        assert [(s.release_id, s.wanted) for s in serving] == [(wanted.id, servers)], (way.going.phase, seen)
