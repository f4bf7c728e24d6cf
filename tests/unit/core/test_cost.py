"""What a plan costs: steady, once for its rollouts, by team and by token; what has no price is named and never 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from environments.names import Address
from environments.prices import Price, PriceBook
from environments.spec import EnvironmentSpec
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.plan.capacity import PoolNeed, pool_needs
from reconciler.core.plan.change import Action, Change, MovesBy
from reconciler.core.plan.cost import PoolPrice, cost_of, extra_usd, pool_price, warm_usd, without_measurements
from reconciler.core.plan.duration import NODES_S, START_S, UNKNOWN_WEIGHTS_S, phases_of, rollout_times, total_s
from tests.support.builders.releases import SETTINGS, release

NEW = release("new")
BOOK = PriceBook(
    (
        Price("ec2", "us-east-1", "g6.12xlarge", 4.0, "2026-01-21", "s"),
        Price("ec2", "eu-central-1", "g6.12xlarge", 5.0, "2026-01-22", "s"),
        Price("sagemaker", "eu-central-1", "g6.12xlarge", 6.0, "2026-01-21", "s"),
        Price("ec2", "us-east-1", "zz1.huge", None, "2026-01-21", "s", "nobody says"),
    ),
    {"s": "made up"},
)
ROLLS = replace(SETTINGS, steps_pct=(25.0, 50.0), step_min_s=600, step_max_s=1200, bake_s=1800, warmup_requests=0)


def pool(
    instance: str = "g6.12xlarge", *, low: int = 0, high: int = 9, per_node: int = 1, **facts: Any
) -> dict[str, Any]:
    return {
        "gpu": "L4", "instance": instance, "gpus_per_node": per_node, "vram_gib": 24,
        "nodes": {"min": low, "max": high}, **facts,
    }  # fmt: skip


def spec(region: str = "east", platform: str = "local", teams: Any = None, **pools: dict[str, Any]) -> EnvironmentSpec:
    local = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"]}
    declared = {"platform": platform} if platform != "local" else local
    chat = {
        "team": "t", "runtime": "vllm", "pool": next(iter(pools)), "replicas": {"min": 4, "max": 4},
        "rollout": {"keep_warm_s": 3600.0}, "release": {"model": "file:m"},
    }  # fmt: skip
    return EnvironmentSpec.model_validate(
        {
            "environment": "test", "owner": "us", "store": "sqlite:///x.db", "teams": teams or {},
            "regions": {region: {**declared, "gpu_pools": pools}}, "endpoints": {"chat": chat},
        }
    )  # fmt: skip


def wanted(gpus: int = 4, *, region: str = "east", pool: str = "l4", how: Any = ROLLS) -> DesiredEndpoint:
    return DesiredEndpoint(Address("test", region, "chat"), 0, NEW, how, "t", pool, gpus, 4)


def change(action: Action = Action.ROLLOUT, moves_by: MovesBy = MovesBy.COLD_LOAD, region: str = "east") -> Change:
    return Change(Address("test", region, "chat"), action, (), moves_by, NEW.id)


def priced(**facts: Any) -> PoolPrice:
    return pool_price(spec(l4=pool(**facts)), BOOK, "east", "l4")


def cost(made: EnvironmentSpec, each: DesiredEndpoint, *changes: Change, **more: Any) -> dict[str, Any]:
    state = DesiredState("test", (each,))
    return cost_of(made, pool_needs(made, state, changes), BOOK, state, changes, **more)


def test_prices_are_those_of_region_and_platform() -> None:
    for region, platform, usd in (
        ("east", "local", 4.0), ("eu-central-1", "kubernetes", 5.0), ("eu-central-1", "sagemaker", 6.0),
    ):  # fmt: skip
        found = pool_price(spec(region, platform, l4=pool()), BOOK, region, "l4")
        assert found.usd_per_hour(2.0) == 2 * usd
    gone = pool_price(spec("eu-west-1", "sagemaker", l4=pool()), BOOK, "eu-west-1", "l4")
    assert gone.usd_per_hour(1.0) is None
    assert gone.price.reason == "no row for sagemaker g6.12xlarge in eu-west-1"


@pytest.mark.parametrize(("floor", "nodes", "usd"), [(0, 3, 4.8), (2, 3, 9.6), (5, 3, 12.0)])
def test_spot_is_four_tenths_above_its_on_demand_floor(floor: int, nodes: int, usd: float) -> None:
    assert priced(capacity="spot", on_demand_floor=floor).usd_per_hour(nodes) == pytest.approx(usd)


def test_gpus_on_top_cost_nothing_where_nodes_run_anyway() -> None:
    assert priced(low=8).more(4, 4) == 0.0
    assert priced(low=6).more(4, 4) == 8.0
    assert priced(per_node=4).more(4, 1) == priced(per_node=4).more(4, 4) == 4.0
    assert priced(per_node=4).more(3, 1) == 0.0


def test_a_rollout_costs_its_servers_for_as_long_as_each_share_lasts() -> None:
    start = START_S + UNKNOWN_WEIGHTS_S
    usd = extra_usd(priced(), 4, wanted(), change(), 1)
    # One server of four through start and the first step, two through the second, four through the bake.
    assert usd == pytest.approx(4.0 * (1 * start + 1 * 600 + 2 * 600 + 4 * 1800) / 3600)
    assert warm_usd(priced(), 4, wanted(), 1, 3600) == pytest.approx(16.0)
    swap = replace(ROLLS, surge="swap", surge_replicas=1)
    usd = extra_usd(priced(), 4, wanted(how=swap), change(), 1)
    assert usd == pytest.approx(4.0 * (start + 600 + 600 + 1800) / 3600)
    assert warm_usd(priced(), 4, wanted(how=swap), 1, 3600) == pytest.approx(4.0)


def test_a_plan_sums_what_it_declares_and_what_it_does_once() -> None:
    found = cost(spec(l4=pool(), teams={"t": {"budget_usd_per_month": 9000.0}}), wanted(), change())
    assert (found["steady_usd_per_hour"], found["surge_usd_per_hour"]) == (16.0, 16.0)
    assert found["steady_usd_per_month"] == 16.0 * 730
    assert found["teams"] == [{"team": "t", "usd_per_month": 11680.0, "budget_usd_per_month": 9000.0}]
    [rollout] = found["rollouts"]
    assert rollout == {
        "endpoint": "chat", "waves": 1, "ideal_s": 3180.0, "most_s": 900 + 2400 + 1800,
        "surge_usd": 10.2, "warm_usd": 16.0,
    }  # fmt: skip
    assert found["assumed"]["nodes_s"] == NODES_S
    assert (found["prices"], found["unpriced"], found["unknown"]) == ("aws 2026-01-21", [], [])


@pytest.mark.parametrize("moves", [change(moves_by=MovesBy.WEIGHT), change(Action.CREATE), change(Action.NONE)])
def test_what_loads_no_challenger_costs_nothing_on_top(moves: Change) -> None:
    found = cost(spec(l4=pool()), wanted(), moves)
    assert found["surge_usd_per_hour"] == 0.0
    assert [(each["surge_usd"], each["warm_usd"]) for each in found["rollouts"]] == [(0, 0)] * (moves.action != "none")


def test_without_a_price_figures_are_unknown_and_the_reason_stands_there() -> None:
    found = cost(spec(l4=pool("zz1.huge")), wanted(), change())
    assert found["unpriced"] == ["zz1.huge"]
    assert found["unknown"] == ["nobody says"]
    assert found["teams"][0]["usd_per_month"] is None
    assert (found["rollouts"][0]["surge_usd"], found["rollouts"][0]["warm_usd"]) == (None, None)


def tokens(traffic: Any, *, token_prices: Any = None, rates: Any = None) -> list[dict[str, Any]]:
    made = spec(l4=pool())
    data = made.model_dump(mode="python")
    data["endpoints"]["chat"] |= {"traffic": traffic, "token_prices": token_prices}
    found = cost(EnvironmentSpec.model_validate(data), wanted(), rates_rps=rates)
    return list(found["tokens"])


def test_tokens_cost_what_machines_cost_at_the_declared_traffic() -> None:
    [line] = tokens({"requests_per_s": 10.0, "input_tokens": 300.0, "output_tokens": 100.0})
    each = 16.0 / (10 * 3600 * 400) * 1e6
    assert (line["basis"], line["requests_per_s"]) == ("declared", 10.0)
    assert line["usd_per_million_input"] == line["usd_per_million_output"] == pytest.approx(each, abs=1e-4)
    weighed = tokens(
        {"requests_per_s": 10.0, "input_tokens": 300.0, "output_tokens": 100.0},
        token_prices={"input_usd_per_million": 1.0, "output_usd_per_million": 4.0},
    )[0]
    assert weighed["usd_per_million_output"] == pytest.approx(4 * weighed["usd_per_million_input"], rel=1e-3)
    paid = 300 * weighed["usd_per_million_input"] + 100 * weighed["usd_per_million_output"]
    assert paid * 10 * 3600 / 1e6 == pytest.approx(16.0, rel=1e-3)


def test_a_measured_rate_stands_in_and_is_no_other_plan() -> None:
    traffic = {"input_tokens": 300.0, "output_tokens": 100.0}
    [line] = tokens(traffic, rates={Address("test", "east", "chat"): 10.0})
    assert (line["basis"], line["usd_per_million_input"]) == ("measured", pytest.approx(1.1111, abs=1e-3))
    [none] = tokens(traffic)
    assert (none["basis"], none["usd_per_million_input"]) == (None, None)
    assert "tokens" not in without_measurements({"tokens": [line], "prices": "x"})


def test_time_is_what_is_declared_and_what_is_assumed() -> None:
    gated = replace(ROLLS, gates={"eval": {"suite": "s"}, "load": {"profile": "p", "max_duration_s": 200}})
    names = [phase.name for phase in phases_of(change(moves_by=MovesBy.NEW_NODES), wanted(how=gated))]
    assert names == ["nodes", "start", "gate:eval", "gate:load", "25 %", "50 %", "bake"]
    ideal, most = total_s(phases_of(change(moves_by=MovesBy.NEW_NODES), wanted(how=gated)))
    assert ideal == NODES_S + 180 + 300 + 200 + 1200 + 1800
    assert most > ideal
    late = replace(wanted(), wave=1, address=Address("test", "west", "chat"))
    both = {each.address: each for each in (wanted(), late)}
    [told] = rollout_times((change(), change(region="west")), both)
    assert (told["waves"], told["ideal_s"]) == (2, 2 * 3180.0)


def test_needs_of_other_pools_are_no_part_of_it() -> None:
    found = cost_of(spec(l4=pool(low=3)), [PoolNeed("east", "l4", 1, 0, 9, 3, 1)], BOOK)
    assert (found["steady_usd_per_hour"], found["rollouts"], found["teams"], found["assumed"]) == (12.0, [], [], {})
