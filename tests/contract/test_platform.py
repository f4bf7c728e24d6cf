"""The contract of PlatformReader, PlatformWriter and CountsTraffic, held by the fakes and by both real platforms."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.ports import CountsTraffic, InProgress, SlotAddress, finished, read_all
from tests.support.kubernetes.world import on_a_cluster
from tests.support.worlds import FakeWorld, FleetWorld, LocalWorld, World, local_home, place, seen, serve, until

ENGINE = pytest.mark.engine
ON_A_CLUSTER = (ENGINE, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes"))


@pytest.fixture(
    params=["fake", "fleet", pytest.param("local", marks=ENGINE), pytest.param("kubernetes", marks=ON_A_CLUSTER)]
)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Return an empty region of each kind in turn.

    On `kubernetes` the control plane is real and the machines are fake: hands act for kubelets and for the gateway's
    controller, and there is no traffic to count.
    """
    if request.param == "kubernetes":
        async with on_a_cluster(request.getfixturevalue("cluster")) as on_cluster:
            yield on_cluster
        return
    if request.param == "fake":
        yield FakeWorld()
        return
    if request.param == "fleet":
        yield FleetWorld()
        return
    with local_home(tmp_path) as home:
        yield LocalWorld(home, tmp_path / "models")


async def test_a_region_that_was_never_started_is_empty(world: World) -> None:
    assert await read_all(world.platform) == ()
    (endpoint,) = await read_all(world.platform, ["chat"])
    assert endpoint.address == world.address
    assert endpoint.weights == {"a": 0.0, "b": 0.0}
    assert all(slot.release is None and slot.problem is None for slot in endpoint.slots.values())
    assert endpoint.gateway_problem is None


async def test_a_started_release_becomes_ready_and_is_found_again(world: World) -> None:
    release = await serve(world, "a", "one")
    (endpoint,) = await read_all(world.platform)
    found = endpoint.slots["a"]
    assert found.release == release
    assert found.release is not None
    assert found.release.lineage == release.lineage
    assert (found.ready, found.warm, found.running, found.fatal, found.restarts) == (True, False, True, False, 0)
    assert found.url
    assert endpoint.slots["b"].release is None
    assert endpoint.serving is None


async def test_starting_the_same_release_again_changes_nothing(world: World) -> None:
    release = await serve(world, "a", "one")
    await world.platform.mark_warm(place(world, "a"), fence=1)
    before = await seen(world, "a")
    await finished(world.platform.start, place(world, "a"), release, fence=1)
    assert await seen(world, "a") == before
    assert before.warm


async def test_a_slot_without_weight_takes_another_release(world: World) -> None:
    await serve(world, "a", "one")
    await world.platform.mark_warm(place(world, "a"), fence=1)
    second = await serve(world, "a", "two")
    found = await seen(world, "a")
    assert (found.release, found.warm) == (second, False)


async def test_a_restarted_server_is_cold_and_comes_back(world: World) -> None:
    await serve(world, "a", "one")
    await world.platform.mark_warm(place(world, "a"), fence=1)
    world.crash("a")
    found = await until(world, "a", lambda s: s.ready and s.restarts > 0)
    assert (found.warm, found.running, found.restarts) == (False, True, 1)


async def test_a_server_has_started_once_it_was_ready_until_its_process_is_another(world: World) -> None:
    """So that one slow probe is told from a server that still loads its model."""
    await finished(world.platform.start, place(world, "a"), world.release("shy", never_ready=True), fence=1)
    assert not (await until(world, "a", lambda s: s.problem is not None)).started
    await world.fault("a", never_ready=False)
    assert (await until(world, "a", lambda s: s.ready)).started
    await world.fault("a", never_ready=True)
    silent = await until(world, "a", lambda s: not s.ready)
    assert (silent.started, silent.running) == (True, True)
    world.crash("a")
    found = await until(world, "a", lambda s: s.restarts == 1)
    assert (found.ready, found.started) == (False, False)


async def test_a_server_without_supervisor_is_seen_as_gone_and_can_be_started_again(world: World) -> None:
    release = await serve(world, "a", "one")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    world.kill("a")
    found = await until(world, "a", lambda s: not s.running)  # a cluster's watch tells a moment later
    assert (found.release, found.ready, found.running, found.weight_pct) == (release, False, False, 100.0)
    assert found.problem
    await serve(world, "a", "one")
    assert (await seen(world, "a")).weight_pct == 100.0


@pytest.mark.parametrize(
    "weights",
    [{"a": 100.0, "b": 0.0}, {"a": 0.0, "b": 100.0}, {"a": 64.1, "b": 100 - 64.1}, {"a": 99.5, "b": 0.5}, {"a": 100.0}],
    ids=str,
)
async def test_weights_are_read_back_as_finely_as_the_gateway_holds_them(
    world: World, weights: dict[str, float]
) -> None:
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await finished(world.platform.weigh, world.address, weights, fence=1)
    (endpoint,) = await read_all(world.platform)
    for slot, pct in ({"a": 0.0, "b": 0.0} | weights).items():
        half = 0.0 if pct in (0.0, 100.0) else endpoint.weight_resolution_pct / 2
        assert abs(endpoint.weights[slot] - pct) <= half + 1e-9


BAD_WEIGHTS: list[dict[str, float]] = [
    {},
    {"a": 50.0},
    {"a": 60.0, "b": 60.0},
    {"a": -10.0, "b": 110.0},
    {"a": 50.0, "c": 50.0},
    {"a": math.nan, "b": 100.0},
    {"a": math.inf, "b": 0.0},
]


async def test_weights_that_are_no_split_are_refused(world: World) -> None:
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    for weights in BAD_WEIGHTS:
        with pytest.raises(SluiceError, match="PLAT-004"):
            await finished(world.platform.weigh, world.address, weights, fence=1)
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_a_slot_without_server_gets_no_weight(world: World) -> None:
    await serve(world, "a", "one")
    with pytest.raises(SluiceError, match="PLAT-005"):
        await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)
    with pytest.raises(SluiceError, match="PLAT-005"):
        await finished(world.platform.weigh, Address("test", "local", "other"), {"a": 100, "b": 0}, fence=1)


async def test_a_serving_slot_is_neither_replaced_nor_stopped(world: World) -> None:
    release = await serve(world, "a", "one")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    with pytest.raises(SluiceError, match="PLAT-003"):
        await finished(world.platform.start, place(world, "a"), world.release("two"), fence=1)
    with pytest.raises(SluiceError, match="PLAT-003"):
        await finished(world.platform.stop, place(world, "a"), fence=1)
    found = await seen(world, "a")
    assert (found.release, found.ready, found.weight_pct) == (release, True, 100.0)


async def test_a_stopped_slot_is_empty_and_stopping_again_is_fine(world: World) -> None:
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    await finished(world.platform.stop, place(world, "b"), fence=1)
    await finished(world.platform.stop, place(world, "b"), fence=1)
    assert (await seen(world, "b")).release is None
    assert (await seen(world, "a")).ready
    await finished(world.platform.stop, SlotAddress(Address("test", "local", "never-there"), "a"), fence=1)


async def test_a_removed_endpoint_is_gone_and_others_stay(world: World) -> None:
    await serve(world, "a", "one")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    other = SlotAddress(Address("test", "local", "other"), "a")
    await finished(world.platform.start, other, world.release("one", endpoint="other"), fence=1)
    await finished(world.platform.weigh, other.address, {"a": 100, "b": 0}, fence=1)
    await finished(world.platform.remove, world.address, fence=1)
    await finished(world.platform.remove, world.address, fence=1)
    (endpoint,) = await read_all(world.platform)
    assert endpoint.address == other.address
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_nothing_runs_there_so_nothing_is_warm(world: World) -> None:
    with pytest.raises(SluiceError, match="PLAT-003"):
        await world.platform.mark_warm(place(world, "a"), fence=1)


async def test_an_older_token_changes_nothing(world: World) -> None:
    """A writer that slept through its lease wakes up: every verb of it is refused, for this endpoint alone."""
    platform, address = world.platform, world.address
    release = await serve(world, "a", "one", fence=4)
    await finished(platform.weigh, address, {"a": 100, "b": 0}, fence=5)
    late: dict[str, Callable[[], Awaitable[InProgress | None]]] = {
        "start": lambda: platform.start(place(world, "b"), world.release("two"), fence=4),
        "mark_warm": lambda: platform.mark_warm(place(world, "a"), fence=4),
        "weigh": lambda: platform.weigh(address, {"a": 100, "b": 0}, fence=4),
        "stop": lambda: platform.stop(place(world, "b"), fence=4),
        "remove": lambda: platform.remove(address, fence=4),
    }
    for verb, call in late.items():
        with pytest.raises(SluiceError) as refused:
            await call()
        assert refused.value.code == "LEASE-002", verb
    (endpoint,) = await read_all(platform)
    assert endpoint.slots["a"].release == release
    assert endpoint.slots["b"].release is None
    assert (endpoint.slots["a"].warm, endpoint.weights) == (False, {"a": 100.0, "b": 0.0})
    other = SlotAddress(Address("test", "local", "other"), "a")
    await finished(platform.start, other, world.release("one", endpoint="other"), fence=1)


async def test_traffic_is_counted_for_every_slot(world: World) -> None:
    assert isinstance(world.platform, CountsTraffic)
    await serve(world, "a", "one")
    counts = await world.platform.traffic(world.address)
    assert {slot: (c.requests, c.errors) for slot, c in counts.items()} == {"a": (0, 0), "b": (0, 0)}
    assert all(c.epoch for c in counts.values())
