"""Work that takes longer than a verb may: begun once, looked at when it is asked again, ended by what replaces it."""

from __future__ import annotations

import asyncio

import pytest

from environments.errors import SluiceError
from reconciler.platforms.undertakings import Tell, Undertakings
from reconciler.ports import InProgress


class Work:
    """Work that goes on until a test lets it end; `begun` counts how often it was begun, `ended` how often cut off."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = self.ended = 0
        self.error: SluiceError | None = None

    async def __call__(self, tell: Tell) -> None:
        self.begun += 1
        tell("its files are fetched")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended += 1
            raise
        if self.error:
            raise self.error


async def test_what_is_quick_is_done_at_once_and_begun_again_the_next_time() -> None:
    going, work = Undertakings(), Work()
    work.go_on.set()
    assert await going.ask("a", ("start",), work) is None
    assert await going.ask("a", ("start",), work) is None
    assert work.begun == 2


async def test_what_takes_long_says_what_it_waits_for_and_is_begun_once() -> None:
    going, work = Undertakings(patience_s=0.01), Work()
    for _ in range(3):
        assert await going.ask("a", ("start", "v2"), work) == InProgress("its files are fetched")
    assert work.begun == 1
    work.go_on.set()
    assert await going.ask("a", ("start", "v2"), work) is None


async def test_an_error_is_raised_once_and_the_work_begins_anew() -> None:
    going, work = Undertakings(patience_s=0.01), Work()
    assert await going.ask("a", ("start",), work)
    work.error = SluiceError("PLAT-008", where="a", what="it does not start")
    work.go_on.set()
    with pytest.raises(SluiceError, match="PLAT-008"):
        await going.ask("a", ("start",), work)
    work.error = None
    assert await going.ask("a", ("start",), work) is None
    assert work.begun == 2


async def test_another_undertaking_at_a_place_ends_the_one_before_first() -> None:
    going, start, stop = Undertakings(patience_s=0.01), Work(), Work()
    stop.go_on.set()
    assert await going.ask("a", ("start",), start)
    assert await going.ask("a", ("stop",), stop) is None
    assert (start.begun, start.ended, stop.begun) == (1, 1, 1)


async def test_places_are_apart_and_can_be_ended_together() -> None:
    going, one, other = Undertakings(patience_s=0.01), Work(), Work()
    assert await going.ask("a", ("start",), one)
    assert await going.ask("b", ("start",), other)
    assert (one.ended, other.ended) == (0, 0)
    await going.end("a", "b", "c")
    assert (one.ended, other.ended) == (1, 1)


async def test_whoever_asks_may_be_cancelled_and_the_work_goes_on() -> None:
    """A loop that leaves cancels its own task; a copy of 100 GB is not thrown away for that."""
    going, work = Undertakings(patience_s=60), Work()
    asking = asyncio.create_task(going.ask("a", ("start",), work))
    await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert work.ended == 0
    work.go_on.set()
    assert await going.ask("a", ("start",), work) is None
    assert work.begun == 1
