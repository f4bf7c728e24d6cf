"""The servers of a slot are one arm: what each has counted is summed while they come, go, restart and fall silent."""

from __future__ import annotations

from reconciler.core.model.tokens import Tokens
from reconciler.evidence.counters import SummedServers, difference
from reconciler.ports import SlotCounts


def counted(requests: int, *, epoch: str = "1", running: float = 1.0, cache: float = 0.1) -> SlotCounts:
    """Return what a server tells that has answered so many, each within half a second and with ten tokens."""
    return SlotCounts(
        requests, 0, ttft_s={"0.5": requests, "+Inf": requests}, tokens=Tokens(requests, 5 * requests, 10 * requests),
        running=running, kv_cache_usage=cache, epoch=epoch, server_epoch=epoch,
    )  # fmt: skip


def test_what_was_counted_before_anybody_looked_is_nobodys() -> None:
    summed = SummedServers()
    first = summed.take("b", {"one": counted(1000), "two": counted(50)})
    second = summed.take("b", {"one": counted(1010), "two": counted(55)})
    assert first.requests == 0
    found = difference(first, second)
    assert (found.requests, found.ttft_s["+Inf"]) == (15, 15)
    assert found.tokens == Tokens(15, 75, 150)


def test_one_that_is_not_read_is_caught_up_with_and_one_that_goes_leaves_what_it_told() -> None:
    summed = SummedServers()
    before = summed.take("b", {"one": counted(0), "two": counted(0)})
    summed.take("b", {"one": counted(10)})
    after = summed.take("b", {"one": counted(20), "two": counted(30)})
    assert difference(before, after).requests == 50
    alone = summed.take("b", {"two": counted(40)})
    assert difference(after, alone).requests == 10


def test_one_that_restarts_begins_at_its_first_reading_and_one_that_comes_too() -> None:
    summed = SummedServers()
    before = summed.take("b", {"one": counted(100)})
    restarted = summed.take("b", {"one": counted(3, epoch="2"), "new": counted(7)})
    assert difference(before, restarted).requests == 0
    later = summed.take("b", {"one": counted(8, epoch="2"), "new": counted(9)})
    assert difference(restarted, later).requests == 7
    assert later.server_epoch == restarted.server_epoch, "the sum never starts again"


def test_slots_are_apart_and_gauges_are_of_now() -> None:
    summed = SummedServers()
    summed.take("a", {"one": counted(0)})
    found = summed.take("b", {"one": counted(5, running=2, cache=0.2), "two": counted(5, running=3, cache=0.9)})
    assert (found.requests, found.running, found.kv_cache_usage) == (0, 5, 0.9)
