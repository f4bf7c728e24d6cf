"""What happens to a real local region when its files are damaged or lost, and when it is taken down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import down
from reconciler.platforms.local.port_lease import try_reserve
from reconciler.platforms.local.state import locked, read_slot
from reconciler.ports import finished, read_all
from tests.support.clients import stream
from tests.support.processes import kill, left_over
from tests.support.worlds import (
    PATIENCE_S,
    LocalWorld,
    answers,
    gone,
    local_home,
    place,
    seen,
    serve,
    serving,
)

pytestmark = pytest.mark.engine


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder whose processes end with the test."""
    with local_home(tmp_path) as folder:
        yield folder


@pytest.fixture
def world(home: Path, tmp_path: Path) -> LocalWorld:
    """Return a real local region."""
    return LocalWorld(home, tmp_path / "models")


async def test_down_leaves_nothing(world: LocalWorld, home: Path) -> None:
    await serving(world)
    await serve(world, "b", "two")
    ports = ports_of(world)
    assert len(set(ports)) == 5
    assert [port for port in ports if is_free(port)] == []
    result = await down(home, "test")
    assert (result.processes, result.folders) == (6, ("local",))
    assert left_over(home) == []
    assert not (home / "test").exists()
    assert [port for port in ports if not is_free(port)] == []
    again = await down(home, "test")
    assert (again.processes, again.folders) == (0, ())


async def test_down_waits_for_whoever_changes_a_region(world: LocalWorld, home: Path) -> None:
    await serving(world)
    async with locked(world.root / "region.lock", wait_s=PATIENCE_S, where="test"):
        going = asyncio.create_task(down(home, "test"))
        await asyncio.sleep(0.05)  # it stands before the lock now
        assert world.supervised("a").running
    assert (await going).processes == 4
    assert not (home / "test").exists()


@pytest.mark.parametrize("damage", ["deleted", "half", "empty"])
async def test_down_works_on_damaged_state(world: LocalWorld, home: Path, damage: str) -> None:
    await serving(world)
    for path in sorted((home / "test").rglob("*.json")):
        match damage:
            case "deleted":
                path.unlink()
            case "half":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case _:
                path.write_bytes(b"")
    await down(home, "test")
    assert left_over(home) == []
    assert not (home / "test").exists()


async def test_damaged_state_is_told_and_a_start_repairs_it(world: LocalWorld) -> None:
    await serving(world)
    server = world.supervised("a").server
    (world.root / "endpoints" / "chat" / "a" / "slot.json").write_text('{"release": {"endpoint": "chat"')
    found = await seen(world, "a")
    assert (found.release, found.running, found.weight_pct) == (None, False, 100.0)
    assert found.problem is not None
    assert "slot.json is damaged" in found.problem
    with pytest.raises(SluiceError, match="PLAT-003"):
        await finished(world.platform.start, place(world, "a"), world.release("two"), fence=1)
    await serve(world, "a", "one")
    assert server is not None
    assert not server.alive
    await answers(world)


@pytest.mark.parametrize("damage", ["damaged", "lost"])
async def test_what_serves_without_a_record_is_named_as_the_gateway_knows_it(world: LocalWorld, damage: str) -> None:
    """So that whoever refuses to begin a rollout over it can say which release it is."""
    await serving(world)
    release = (await seen(world, "a")).release_id
    assert release is not None
    record = world.root / "endpoints" / "chat" / "a" / "slot.json"
    record.write_text("{") if damage == "damaged" else record.unlink()
    found = await seen(world, "a")
    assert (found.release, found.weight_pct, found.ready, found.running) == (None, 100.0, False, False)
    assert found.problem is not None
    assert release in found.problem
    assert (await seen(world, "b")).problem is None


@pytest.mark.parametrize("damage", ["damaged", "lost"])
async def test_what_serves_without_a_record_goes_on_serving_whatever_is_written(world: LocalWorld, damage: str) -> None:
    await serving(world)
    record = world.root / "endpoints" / "chat" / "a" / "slot.json"
    record.write_text("{") if damage == "damaged" else record.unlink()
    await serve(world, "b", "two")
    other = place(world, "a", endpoint="other")
    await finished(world.platform.start, other, world.release("one", endpoint="other"), fence=1)
    await world.platform.weigh(other.address, {"a": 100, "b": 0}, fence=1)
    answer = await stream(world.port)
    assert (answer.slot, answer.failed) == ("a", False)
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    assert (await stream(world.port)).slot == "b"


async def test_a_damaged_route_file_is_read_from_the_gateway(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "gateway" / "rds.json").write_text("{")
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, {"a": 90, "b": 10}, fence=1)
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 90.0, "b": 10.0}


async def test_a_lost_route_file_costs_no_other_endpoint_its_routes(world: LocalWorld) -> None:
    await serving(world)
    other = place(world, "a", endpoint="other")
    await finished(world.platform.start, other, world.release("one", endpoint="other"), fence=1)
    await world.platform.weigh(other.address, {"a": 100, "b": 0}, fence=1)
    (world.root / "gateway" / "rds.json").unlink()
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    for endpoint in await read_all(world.platform):
        assert endpoint.weights == {"a": 100.0, "b": 0.0}
    await answers(world, "/other/v1/completions")


async def test_routes_that_are_lost_with_their_gateway_are_not_taken_for_none(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "gateway" / "rds.json").unlink()
    kill(world.gateway().supervisor)
    await gone(world.gateway().server)
    with pytest.raises(SluiceError, match="PLAT-002"):
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    assert not (world.root / "gateway" / "rds.json").exists()


async def test_damaged_fences_stop_writers_with_a_code(world: LocalWorld) -> None:
    await serving(world)
    (world.root / "fences.json").write_text("[1]")
    with pytest.raises(SluiceError, match="PLAT-002"):
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)


def ports_of(world: LocalWorld) -> list[int]:
    slots = [read_slot(world.root / "endpoints" / "chat" / slot, "test") for slot in ("a", "b")]
    gateway = json.loads((world.root / "gateway" / "gateway.json").read_text())
    return [*(slot.port for slot in slots if slot), gateway["public"], gateway["pinned"], gateway["admin"]]


def is_free(port: int) -> bool:
    found = try_reserve(port)
    if found is not None:
        found.close()
    return found is not None
