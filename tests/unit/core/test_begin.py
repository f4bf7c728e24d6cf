"""How rollouts, repairs and rollbacks begin: which slot, which champion, in which order, and how fast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from environments.names import Address
from reconciler.core.model.desired import DesiredEndpoint
from reconciler.core.model.observed import ObservedSlot
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.core.model.settings import Limit, RolloutSettings
from reconciler.core.rollout.begin import (
    challenger_slot,
    empty_endpoint,
    new_repair,
    new_rollback,
    new_rollout,
    with_specs,
)
from tests.support.builders.releases import endpoint, release
from tests.unit.policies.fixtures import shipped

OLD, NEW, OTHER = release("old"), release("new"), release("other")
SETTINGS = RolloutSettings(
    bake_s=7.0,
    gates={"eval": {"suite": "x"}},
    slo={"error_rate": 0.1},
    limits=(Limit("l", "http", "q"),),
    start_timeout_s=5.0,
)
AT_ONCE = replace(SETTINGS, strategy="blue_green", bake_s=0.0, gates={}, slo={}, limits=())


@pytest.mark.parametrize(
    ("slots", "wanted"),
    [
        ({"a": (OLD, 100.0), "b": (None, 0.0)}, "b"),
        ({"a": (None, 0.0), "b": (OLD, 100.0)}, "a"),
        ({"a": (None, 0.0), "b": (None, 0.0)}, "a"),
        ({"a": (OLD, 100.0), "b": (None, 0.0), "c": (NEW, 0.0)}, "c"),
        ({"a": (OLD, 100.0), "b": (OTHER, 0.0), "c": (None, 0.0)}, "c"),
        ({"a": (OLD, 90.0), "b": (OTHER, 10.0), "c": (OTHER, 0.0)}, "c"),
        ({"a": (OLD, 90.0), "b": (OTHER, 10.0)}, "b"),
        ({"a": (NEW, 100.0), "b": (OLD, 0.0)}, "b"),
    ],
    ids=["the free one", "whatever its name", "the first", "where it is", "an empty one", "one without weight", "any",
         "never the serving one"],
)  # fmt: skip
def test_the_challengers_slot(slots: dict[str, tuple[Release | None, float]], wanted: str) -> None:
    assert challenger_slot(endpoint(slots), NEW.id) == wanted


def wanted(region: str, wave: int, of: Release = NEW) -> DesiredEndpoint:
    return DesiredEndpoint(Address("test", region, "chat"), wave, of, SETTINGS, "team", None, 0)


def test_a_rollout_begins_in_the_order_of_its_waves_with_the_champions_that_serve() -> None:
    live = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)}, region="east")
    begun = new_rollout(
        "r-1", [wanted("west", 1), wanted("south", 0), wanted("east", 0)], {live.address: live}, now=12.0, actor="ada"
    )
    regions = (
        RegionRollout("east", 0, "b", champion_slot="a", champion=OLD),
        RegionRollout("south", 0, "a"),
        RegionRollout("west", 1, "a"),
    )
    assert begun == Rollout("r-1", "test", "chat", NEW, SETTINGS, regions, 12.0, actor="ada", mode="rollout")


def test_a_slot_that_serves_what_nobody_knows_is_no_champion() -> None:
    live = endpoint({"a": (None, 0.0), "b": (None, 0.0)}, region="east")
    live = replace(live, slots={**live.slots, "a": ObservedSlot(weight_pct=100.0)})
    [region] = new_rollout("r-1", [wanted("east", 0)], {live.address: live}, now=0.0, actor="ada").regions
    assert region == RegionRollout("east", 0, "b")


def test_a_repair_begins_where_the_release_is_everywhere_at_once() -> None:
    east = endpoint({"a": (NEW, 100.0), "b": (OLD, 0.0)}, region="east")
    west = endpoint({"a": (OLD, 100.0), "b": (None, 0.0)}, region="west")
    found = {each.address: each for each in (east, west)}
    begun = new_repair("r-2", [wanted("west", 1), wanted("east", 0)], found, now=3.0, actor="ada")
    regions = (RegionRollout("east", 0, "a"), RegionRollout("west", 0, "b"))
    assert begun == Rollout("r-2", "test", "chat", NEW, AT_ONCE, regions, 3.0, actor="ada", mode="repair")


def test_a_rollback_flips_every_region_at_once() -> None:
    west = endpoint({"a": (NEW, 100.0), "b": (None, 0.0)}, region="west")
    east = endpoint({"a": (OLD, 0.0), "b": (NEW, 100.0)}, region="east")
    begun = new_rollback("r-3", OLD, SETTINGS, [west, east], now=4.0, actor="ada", reason="slow")
    regions = (
        RegionRollout("east", 0, "a", champion_slot="b", champion=NEW),
        RegionRollout("west", 0, "b", champion_slot="a", champion=NEW),
    )
    made = Rollout("r-3", "test", "chat", OLD, AT_ONCE, regions, 4.0, actor="ada", reason="slow", mode="rollback")
    assert begun == made


def test_an_empty_endpoint_has_its_slots() -> None:
    seen = empty_endpoint(Address("test", "east", "chat"))
    assert (seen.address.region, seen.slots) == ("east", {"a": ObservedSlot(), "b": ObservedSlot()})


def test_a_region_keeps_what_the_file_said_of_it_but_not_where_metrics_come_from() -> None:
    spec = shipped("local")
    here, gone = RegionRollout("local", 0, "b"), RegionRollout("gone", 0, "b", spec={"platform": "kept"})
    begun = Rollout("r-4", "local", "chat", NEW, SETTINGS, (here, gone), 0.0)
    kept = with_specs(begun, spec)
    declared = spec.regions["local"].model_dump(mode="json")
    assert kept.region("gone") == gone
    assert "prometheus" in declared
    assert kept.region("local").spec == {key: value for key, value in declared.items() if key != "prometheus"}
    assert replace(kept, regions=begun.regions) == begun
