"""What a plan needs of its GPU pools and what that costs: now, at the peak of its rollouts, and afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.capacity import PoolNeed, cost_of, need_to_json, node_usd_per_hour, pool_needs
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy
from reconciler.core.plan.prices import VERSION
from reconciler.core.plan.retire import KeptSlot
from tests.support.builders.releases import SETTINGS, release

NEW = release("new")


def pool(instance: str = "g6.12xlarge", *, low: int = 1, high: int = 3, **facts: Any) -> dict[str, Any]:
    return {
        "gpu": "L4", "instance": instance, "gpus_per_node": 4, "vram_gib": 24, "nodes": {"min": low, "max": high},
        **facts,
    }  # fmt: skip


def spec(**pools: dict[str, Any]) -> EnvironmentSpec:
    region = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"], "gpu_pools": pools}
    return EnvironmentSpec.model_validate(
        {
            "environment": "test", "owner": "us", "store": "sqlite:///x.db",
            "regions": {"east": region, "west": {**region, "gateway_port": 18081}},
            "endpoints": {"chat": {"team": "t", "runtime": "vllm", "release": {"model": "file:m"}}},
        }
    )  # fmt: skip


def wanted(name: str, gpus: int, *, region: str = "east", pool: str | None = "l4") -> DesiredEndpoint:
    return DesiredEndpoint(Address("test", region, name), 0, NEW, SETTINGS, "t", pool, gpus)


def change(name: str, action: Action, moves_by: MovesBy, region: str = "east") -> Change:
    return Change(Address("test", region, name), action, (), moves_by, NEW.id)


SPEC = spec(l4=pool(), other=pool())


def needs(*endpoints: DesiredEndpoint, changes: tuple[Change, ...] = ()) -> tuple[PoolNeed, ...]:
    return pool_needs(SPEC, DesiredState("test", endpoints), changes)


def test_a_pool_holds_what_its_endpoints_need_and_only_used_pools_are_told() -> None:
    assert needs(wanted("chat", 2), wanted("code", 3), wanted("none", 9, pool=None), wanted("lost", 9, pool="x")) == (
        PoolNeed("east", "l4", 5, 0, gpus_max=12, nodes_now_min=1, nodes_at_peak=2),
    )
    assert [(n.region, n.pool) for n in needs(wanted("b", 1, region="west"), wanted("a", 1, pool="other"))] == [
        ("east", "other"),
        ("west", "l4"),
    ]


@pytest.mark.parametrize("loads", [MovesBy.COLD_LOAD, MovesBy.NEW_NODES, MovesBy.WARM_LOAD])
def test_a_rollout_that_loads_needs_its_gpus_twice(loads: MovesBy) -> None:
    [need] = needs(wanted("chat", 4), wanted("code", 1), changes=(change("chat", Action.ROLLOUT, loads),))
    assert (need.gpus_steady, need.gpus_surge, need.nodes_at_peak) == (5, 4, 3)


@pytest.mark.parametrize(
    "moves",
    [
        change("chat", Action.ROLLOUT, MovesBy.WEIGHT),
        change("chat", Action.CREATE, MovesBy.COLD_LOAD),
        change("chat", Action.ROLLOUT, MovesBy.COLD_LOAD, region="west"),
    ],
    ids=["it is warm", "nothing serves yet", "elsewhere"],
)
def test_whatever_moves_otherwise_needs_no_surge(moves: Change) -> None:
    [need] = needs(wanted("chat", 4), changes=(moves,))
    assert (need.gpus_surge, need.nodes_at_peak) == (0, 1)


def test_a_pool_fits_up_to_its_largest_size() -> None:
    need = PoolNeed("east", "l4", 8, 4, gpus_max=12, nodes_now_min=1, nodes_at_peak=3)
    assert need.fits
    assert not replace(need, gpus_surge=5).fits
    assert need_to_json(need) == {
        "region": "east", "pool": "l4", "gpus_steady": 8, "gpus_surge": 4, "gpus_kept_warm": 0,
        "gpus_max": 12, "nodes_at_peak": 3, "fits": True,
    }  # fmt: skip


def test_a_node_costs_its_list_price_and_a_spot_node_four_tenths_of_it() -> None:
    regions = spec(l4=pool(), spot=pool(capacity="spot"), odd=pool("zz1.huge")).regions
    pools = regions["east"].gpu_pools
    assert node_usd_per_hour(pools["l4"]) == 4.6016
    assert node_usd_per_hour(pools["spot"]) == pytest.approx(1.84064)
    assert node_usd_per_hour(pools["odd"]) is None


def test_the_cost_counts_nodes_that_run_anyway_and_those_that_come_for_the_peak() -> None:
    priced = spec(l4=pool(low=1), kept=pool(low=3), odd=pool("zz1.huge"), late=pool("zz2.huge"))
    cost = cost_of(
        priced,
        [
            PoolNeed("east", "odd", 4, 4, 12, 1, 2),
            PoolNeed("east", "late", 4, 4, 12, 1, 2),
            PoolNeed("east", "l4", 5, 4, 12, 1, 3),
            PoolNeed("west", "kept", 4, 4, 12, 3, 2),
        ],
    )
    assert cost == {
        "steady_usd_per_hour": round(5 * 4.6016, 4),
        "surge_usd_per_hour": 4.6016,
        "prices": VERSION,
        "unpriced": ["zz1.huge", "zz2.huge"],
    }
    nothing = {"steady_usd_per_hour": 0.0, "surge_usd_per_hour": 0.0, "prices": VERSION, "unpriced": []}
    assert cost_of(priced, []) == nothing


def test_cents_are_rounded_to_a_hundredth() -> None:
    thirds = cost_of(spec(l4=pool("g6e.2xlarge", gpus_per_node=1)), [PoolNeed("east", "l4", 1, 1, 3, 1, 2)])
    assert (thirds["steady_usd_per_hour"], thirds["surge_usd_per_hour"]) == (2.2421, 2.2421)


def test_what_is_kept_warm_takes_room_until_it_is_retired_or_a_challenger_takes_it() -> None:
    state, kept = DesiredState("test", (wanted("chat", 2),)), KeptSlot(Address("test", "east", "chat"), "b", "old", 0.0)
    retired = change("chat", Action.UPDATE, MovesBy.RETIRE)
    retired = replace(retired, fields=(FieldChange("slots.b.release", "old", None),))
    loading = change("chat", Action.ROLLOUT, MovesBy.COLD_LOAD)
    mended = replace(retired, moves_by=MovesBy.COLD_LOAD, fields=(FieldChange("slots.b.release", "old", None),))
    for changes, warm, surge in (((), 2, 0), ((retired,), 0, 0), ((mended,), 0, 0), ((loading,), 0, 2)):
        (need,) = pool_needs(SPEC, state, changes, (kept,))
        assert (need.gpus_steady, need.gpus_kept_warm, need.gpus_surge) == (2, warm, surge)
    (need,) = pool_needs(SPEC, DesiredState("test", (wanted("chat", 7),)), (), (kept,))
    assert (need.nodes_at_peak, need.fits) == (4, False), "7 and 7 GPUs on at most 3 nodes of 4"
