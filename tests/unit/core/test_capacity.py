"""What a plan needs of its GPU pools: now, at the peak of its rollouts, and afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.capacity import PoolNeed, need_to_json, pool_needs
from reconciler.core.plan.change import Action, Change, FieldChange, MovesBy
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
