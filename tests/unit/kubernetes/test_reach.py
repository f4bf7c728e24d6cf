"""Counts of a region whose Prometheus is, or is not, where this process can reach it."""

from __future__ import annotations

import pytest

from environments.errors import SluiceError
from reconciler.platforms.kubernetes.collected import CollectedServers
from reconciler.platforms.kubernetes.reach import Reach, ReachableStats
from reconciler.platforms.kubernetes.traffic import Told
from reconciler.ports import Scraped
from reconciler.runtimes.vllm import VllmRuntime


class Prometheus:
    """Answers, is out of reach, or is none, by `code`; counts how often it was asked whether it is there."""

    address = "http://prometheus.monitoring:9090"

    def __init__(self, code: str = "") -> None:
        self.code, self.asked = code, 0

    async def now(self, selector: str) -> tuple[Scraped, ...]:
        self.asked += 1
        if self.code:
            raise SluiceError(self.code, what="no answer", retryable=self.code == "METRIC-001")
        return ()

    async def last(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        return await self.now(selector)

    async def ages(self, selector: str, window_s: float) -> tuple[Scraped, ...]:
        return await self.now(selector)


class Stats:
    """Tells by its name who was asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def read(self, namespace: str, endpoint: str) -> Told:
        return Told({}, look_at=self.name)


async def asked_of(prometheus: Prometheus, reach: Reach) -> tuple[str, bool]:
    """Return whose statistics were read, and whether servers are to be asked themselves."""
    told = await ReachableStats(reach, Stats("prometheus"), Stats("proxies")).read("support-prod", "chat")
    return told.look_at, await CollectedServers(prometheus, reach).read(
        "support-prod", "chat", [], VllmRuntime()
    ) is None


@pytest.mark.parametrize(("code", "found"), [("", ("prometheus", False)), ("METRIC-001", ("proxies", True))])
async def test_both_kinds_of_counts_are_read_in_one_place(code: str, found: tuple[str, bool]) -> None:
    prometheus = Prometheus(code)
    reach = Reach(prometheus)
    assert await asked_of(prometheus, reach) == found
    assert prometheus.asked == 1


@pytest.mark.parametrize(("before", "after"), [("", "METRIC-001"), ("METRIC-001", "")])
async def test_it_stays_as_it_was_found_first(before: str, after: str) -> None:
    """The same counters, read in two places, are of two moments: one that goes back would look begun again."""
    prometheus = Prometheus(before)
    reach = Reach(prometheus)
    first = await asked_of(prometheus, reach)
    prometheus.code = after
    assert await asked_of(prometheus, reach) == first


async def test_what_answers_there_and_is_no_prometheus_is_a_mistake_to_mend() -> None:
    with pytest.raises(SluiceError, match="METRIC-002"):
        await Reach(Prometheus("METRIC-002")).reached()
