"""The contract of CountsByStart: requests belong to the weights and the moment under which they began."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.ports import Cohort, CountsByStart, finished
from tests.support.worlds import PATIENCE_S, CohortWorld, LocalCohorts, local_home, place, serve

Sums = dict[str, tuple[int, int, int, int]]
"""Weights → begun, ended, errors, rejected, summed over windows: a test may run across the end of one."""


@pytest.fixture(params=[pytest.param("local", marks=pytest.mark.engine)])
def world(tmp_path: Path) -> Iterator[CohortWorld]:
    """Return a region of each kind in turn, with hands on its requests."""
    with local_home(tmp_path) as home:
        yield LocalCohorts(home, tmp_path / "models")


async def both_serve(world: CohortWorld) -> None:
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)


async def read(world: CohortWorld, slot: str, since_s: float = 0.0) -> tuple[Cohort, ...]:
    assert isinstance(world.platform, CountsByStart)
    return (await world.platform.cohorts(world.address, since_s=since_s))[slot]


def summed(cohorts: tuple[Cohort, ...]) -> Sums:
    sums: dict[str, Counter[str]] = {}
    for cohort in cohorts:
        sums.setdefault(cohort.weights, Counter()).update(
            begun=cohort.begun, ended=cohort.ended, errors=cohort.errors, rejected=cohort.rejected
        )
    return {weights: (n["begun"], n["ended"], n["errors"], n["rejected"]) for weights, n in sums.items()}


async def until(world: CohortWorld, slot: str, enough: Callable[[Sums], bool]) -> Sums:
    """Read a slot's cohorts until they are enough: a gateway counts after the client has its answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not enough(found := summed(await read(world, slot))):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
    return found


async def test_answers_that_take_long_belong_to_the_weights_they_began_under(world: CohortWorld) -> None:
    await both_serve(world)
    await world.hold("a")
    early = world.ask(5)
    (before,) = await until(world, "a", lambda sums: sum(n[0] for n in sums.values()) == 5)
    await world.platform.weigh(world.address, {"a": 60, "b": 40}, fence=1)
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    await asyncio.gather(*world.ask(3))
    after = await until(world, "b", lambda sums: [n[:2] for n in sums.values()] == [(3, 3)])
    assert summed(await read(world, "a")) == {before: (5, 0, 0, 0)}
    await world.let_go("a")
    await asyncio.gather(*early)
    assert await until(world, "a", lambda sums: sums[before][1] == 5) == {before: (5, 5, 0, 0)}
    assert before not in after


async def test_a_server_that_hangs_has_requests_that_began_and_did_not_end(world: CohortWorld) -> None:
    await both_serve(world)
    await world.hold("a")
    hanging = world.ask(4)
    await until(world, "a", lambda sums: [n[:2] for n in sums.values()] == [(4, 0)])
    counts = (await world.platform.traffic(world.address))["a"]
    assert counts.requests == 0
    await world.let_go("a")
    await asyncio.gather(*hanging)


async def test_errors_and_rejections_are_counted_with_those_they_began_with(world: CohortWorld) -> None:
    await both_serve(world)
    await asyncio.gather(*world.ask(3), *world.ask(2, rejected=True))
    await world.fail("a")
    await asyncio.gather(*world.ask(4))
    found = await until(world, "a", lambda sums: sum(n[1] for n in sums.values()) == 9)
    assert list(found.values()) == [(9, 9, 4, 2)]


async def test_the_same_weights_have_the_same_name_and_others_another(world: CohortWorld) -> None:
    await both_serve(world)
    await asyncio.gather(*world.ask(1))
    await world.platform.weigh(world.address, {"a": 0, "b": 100}, fence=1)
    await asyncio.gather(*world.ask(1))
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    await asyncio.gather(*world.ask(1))
    in_a = await until(world, "a", lambda sums: sum(n[1] for n in sums.values()) == 2)
    in_b = await until(world, "b", lambda sums: sum(n[1] for n in sums.values()) == 1)
    assert (len(in_a), len(in_b), in_a.keys() & in_b.keys()) == (1, 1, set())


async def test_cohorts_come_in_order_and_only_from_the_window_on_that_is_asked_for(world: CohortWorld) -> None:
    await both_serve(world)
    began = world.now()
    await asyncio.gather(*world.ask(3))
    await until(world, "a", lambda sums: sum(n[1] for n in sums.values()) == 3)
    found = await read(world, "a", since_s=began - 60)
    assert [c.began_s for c in found] == sorted(c.began_s for c in found)
    assert all(began - c.window_s <= c.began_s <= world.now() for c in found)
    newest = max(c.began_s for c in found)
    assert [c.began_s for c in await read(world, "a", since_s=newest)] == [newest]
    assert await read(world, "a", since_s=newest + 0.001) == ()
    assert await read(world, "b", since_s=0) == ()


async def test_each_endpoint_has_its_own(world: CohortWorld) -> None:
    await both_serve(world)
    await asyncio.gather(*world.ask(2))
    await until(world, "a", lambda sums: sum(n[1] for n in sums.values()) == 2)
    release = world.release("one", endpoint="chat-a")
    other = place(world, "a", endpoint="chat-a")
    await finished(world.platform.start, other, release, fence=1)
    await world.platform.weigh(other.address, {"a": 100, "b": 0}, fence=1)
    assert isinstance(world.platform, CountsByStart)
    assert await world.platform.cohorts(other.address, since_s=0.0) == {"a": (), "b": ()}


async def test_a_gateway_that_restarts_forgets_and_says_so_by_its_epoch(world: CohortWorld) -> None:
    await both_serve(world)
    await asyncio.gather(*world.ask(2))
    await until(world, "a", lambda sums: sum(n[1] for n in sums.values()) == 2)
    epoch = (await world.platform.traffic(world.address))["a"].epoch
    await world.restart_gateway()
    assert await read(world, "a") == ()
    assert (await world.platform.traffic(world.address))["a"].epoch != epoch
