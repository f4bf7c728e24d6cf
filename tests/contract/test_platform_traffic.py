"""Real traffic through the real Envoy of a local region: who answers, what is lost (nothing), what is counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from reconciler.ports import finished
from tests.support.clients import completion, get, send, steady, stream
from tests.support.worlds import PATIENCE_S, LocalWorld, local_home, place, seen, serve, until

pytestmark = pytest.mark.engine
FLIPS = 50
FLIP_STEPS: list[dict[str, float]] = [
    {"a": 0, "b": 100},
    {"a": 100, "b": 0},
    {"a": 99, "b": 1},
    {"a": 50, "b": 50},
    {"a": 0.5, "b": 99.5},
]
RATE = 120.0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return a state folder whose processes end with the test."""
    with local_home(tmp_path) as folder:
        yield folder


@pytest.fixture
def world(home: Path, tmp_path: Path) -> LocalWorld:
    """Return a real local region."""
    return LocalWorld(home, tmp_path / "models")


async def two_slots(world: LocalWorld, weights: Mapping[str, float]) -> None:
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, weights, fence=1)


async def fault(world: LocalWorld, slot: str, **faults: object) -> None:
    url = (await seen(world, slot)).url
    assert url
    async with httpx.AsyncClient(base_url=url) as client:
        (await client.post("/control", json=faults)).raise_for_status()


async def more_than(answers: Sized, count: int) -> None:
    """Wait until so many answers are there."""
    deadline = time.monotonic() + PATIENCE_S
    while len(answers) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def counted(world: LocalWorld, enough: Callable[[int, int], bool], slot: str = "a") -> tuple[int, int]:
    """Return requests and errors of a slot once they are enough: Envoy counts after the client has its answer."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counts = (await world.platform.traffic(world.address))[slot]
        if enough(counts.requests, counts.errors):
            return counts.requests, counts.errors
        assert time.monotonic() < deadline, counts
        await asyncio.sleep(0.02)


async def test_fifty_flips_under_load_lose_no_request_and_cut_no_stream(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", itl_ms=2.0)
    async with steady(world.port, per_second=RATE) as answers:
        long_streams = [asyncio.create_task(stream(world.port, tokens=1500)) for _ in range(4)]
        for flip in range(FLIPS):
            before = len(answers)
            await world.platform.weigh(world.address, FLIP_STEPS[flip % len(FLIP_STEPS)], fence=1)
            await more_than(answers, before + 12)
        long_answers = await asyncio.gather(*long_streams)
    assert len(answers) >= 12 * FLIPS
    assert [a for a in (*answers, *long_answers) if a.failed] == []
    assert Counter(a.slot for a in answers).keys() == {"a", "b"}
    assert all(a.body.count(b"data: ") == 1501 for a in long_answers)


async def test_answers_name_slot_and_release(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    release = (await seen(world, "a")).release
    assert release is not None
    answer = await stream(world.port)
    assert (answer.slot, answer.headers["x-sluice-release"]) == ("a", release.id)


async def test_the_slot_header_is_for_the_inside(world: LocalWorld, home: Path, tmp_path: Path) -> None:
    """Outside traffic cannot choose its slot unless the region allows it; the pinned listener always honours it."""
    await two_slots(world, {"a": 100, "b": 0})
    assert {(await get(world.port, "/chat/v1/models", slot="b")).slot for _ in range(5)} == {"a"}
    pinned = world.platform.pinned_port()
    assert pinned is not None
    assert (await get(pinned, "/chat/v1/models", slot="b")).slot == "b"
    assert (await get(pinned, "/chat/v1/models")).slot == "a"
    open_world = LocalWorld(home, tmp_path / "open", region="open", pinning=True)
    await two_slots(open_world, {"a": 100, "b": 0})
    assert (await get(open_world.port, "/chat/v1/models", slot="b")).slot == "b"


async def test_a_slot_without_weight_can_be_tried_before_any_weight(world: LocalWorld) -> None:
    await serve(world, "a", "one")
    refused = await stream(world.port)
    assert refused.status == 503
    assert b"no release of this endpoint serves yet" in refused.body
    unknown = await get(world.port, "/nobody/v1/models")
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/json")
    pinned = world.platform.pinned_port()
    assert pinned is not None
    assert (await get(pinned, "/chat/v1/models", slot="a")).status == 200


async def test_its_share_reaches_the_challenger(world: LocalWorld) -> None:
    """Weights are dice in Envoy; 20 % of 300 is 60, and fewer than 30 or more than 95 has odds under 1 in 100,000."""
    await two_slots(world, {"a": 80, "b": 20})
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}") as client:
        slots = [(await client.get("/chat/v1/models")).headers["x-sluice-slot"] for _ in range(300)]
    assert 30 <= slots.count("b") <= 95


async def test_whole_answers_are_no_errors(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    assert not any([(await stream(world.port)).failed for _ in range(5)])
    assert await counted(world, lambda requests, _: requests >= 5) == (5, 0)


async def test_server_errors_are_errors_and_client_errors_are_not(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    assert (await stream(world.port, tokens=10**6)).status == 400
    await fault(world, "a", error_rate=1.0)
    assert [(await stream(world.port)).status for _ in range(3)] == [500] * 3
    assert await counted(world, lambda requests, _: requests >= 4) == (4, 3)


async def test_what_the_server_refuses_is_rejected_and_no_error(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    assert (await stream(world.port)).status == 200
    assert [(await stream(world.port, tokens=10**6)).status for _ in range(3)] == [400] * 3
    assert (await get(world.port, "/chat/v1/nothing")).status == 404
    await fault(world, "a", error_rate=1.0)
    assert (await stream(world.port)).status == 500
    await counted(world, lambda requests, _: requests >= 6)
    counts = await world.platform.traffic(world.address)
    assert (counts["a"].requests, counts["a"].errors, counts["a"].rejected) == (6, 1, 4)
    assert counts["b"].rejected == 0


async def test_streams_broken_midway_are_errors(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", break_rate=1.0)
    answers = [await stream(world.port, tokens=20) for _ in range(3)]
    assert [a.status for a in answers] == [200] * 3
    assert all(a.failed for a in answers)
    assert await counted(world, lambda requests, _: requests >= 3) == (3, 3)


async def test_a_client_that_leaves_is_no_error_and_the_server_sees_it(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", itl_ms=50.0)
    reader, writer = await send(world.port, "/chat/v1/completions", completion(500))
    with closing(writer):
        await reader.readuntil(b"data: ")
    assert await counted(world, lambda requests, _: requests >= 1) == (1, 0)
    url = (await seen(world, "a")).url
    async with httpx.AsyncClient(base_url=url or "") as client:
        deadline = time.monotonic() + PATIENCE_S
        while (await client.get("/control")).json()["disconnects"] == 0:
            assert time.monotonic() < deadline


async def test_giving_up_on_a_silent_server_is_an_error_and_changing_ones_mind_is_not(
    world: LocalWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.platforms.local.counting.ABANDONED_MS", 1500)
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", hang_rate=1.0)
    for waited_s in (0.0, 2.0):
        _, writer = await send(world.port, "/chat/v1/completions", completion(4))
        await asyncio.sleep(waited_s)
        writer.close()
    assert await counted(world, lambda requests, _: requests >= 2) == (2, 1)


async def test_a_dead_server_gives_errors_until_it_is_back(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", crash_mid_stream=True)
    assert (await stream(world.port, tokens=20)).failed
    assert await until(world, "a", lambda s: s.ready and s.restarts > 0)
    assert not (await stream(world.port)).failed
    requests, errors = await counted(world, lambda requests, errors: requests > errors)
    assert errors >= 1
    assert requests == errors + 1
    assert (await seen(world, "a")).restarts == 1


async def test_gate_and_warm_up_traffic_is_not_counted(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    pinned = world.platform.pinned_port()
    assert pinned is not None
    assert (await get(pinned, "/chat/v1/models", slot="b")).status == 200
    assert (await stream(world.port)).status == 200
    assert await counted(world, lambda requests, _: requests >= 1) == (1, 0)
    assert await counted(world, lambda *_: True, slot="b") == (0, 0)


async def test_stopping_a_slot_lets_its_streams_finish(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    await fault(world, "a", itl_ms=5.0)
    running = asyncio.create_task(stream(world.port, tokens=300))
    await until_active(world)
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    await finished(world.platform.stop, place(world, "a"), fence=1)
    answer = await running
    assert not answer.failed
    assert answer.slot == "a"
    assert (await until(world, "a", lambda s: s.release is None)).release is None


async def until_active(world: LocalWorld) -> None:
    """Wait until the gateway has passed a request to slot a."""
    url = (await seen(world, "a")).url
    async with httpx.AsyncClient(base_url=url or "") as client:
        deadline = time.monotonic() + PATIENCE_S
        while (await client.get("/control")).json()["requests"] == 0:
            assert time.monotonic() < deadline


async def test_a_request_that_named_its_slot_is_in_no_cohort(home: Path, tmp_path: Path) -> None:
    """It was not drawn by the weights, so it says nothing of how the arms compare; totals still count it."""
    world = LocalWorld(home, tmp_path / "models", pinning=True)
    await two_slots(world, {"a": 100, "b": 0})
    assert (await get(world.port, "/chat/v1/models", slot="b")).status == 200
    assert await counted(world, lambda requests, _: requests >= 1, slot="b") == (1, 0)
    assert await world.platform.cohorts(world.address, since_s=0.0) == {"a": (), "b": ()}


async def test_gate_and_warm_up_traffic_is_in_no_cohort(world: LocalWorld) -> None:
    await two_slots(world, {"a": 100, "b": 0})
    pinned = world.platform.pinned_port()
    assert pinned is not None
    assert (await get(pinned, "/chat/v1/models")).status == 200
    assert (await stream(world.port)).status == 200
    assert await counted(world, lambda requests, _: requests >= 1) == (1, 0)
    (cohort,) = (await world.platform.cohorts(world.address, since_s=0.0))["a"]
    assert cohort.begun == 1


@pytest.mark.slow
async def test_envoy_forgets_old_cohorts_and_keeps_totals(world: LocalWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that lives for months would otherwise keep every window that ever was."""
    monkeypatch.setattr("reconciler.platforms.local.counting.MEMORY_S", 5)
    await two_slots(world, {"a": 100, "b": 0})
    assert (await stream(world.port)).status == 200
    assert await counted(world, lambda requests, _: requests >= 1) == (1, 0)
    deadline = time.monotonic() + PATIENCE_S
    while (await world.platform.cohorts(world.address, since_s=0.0))["a"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert await counted(world, lambda *_: True) == (1, 0)
