"""What a server says of its KV cache after its warm-up is in the ledger, and the next plan reads it there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.model.rollout import Phase, Rollout
from reconciler.core.plan.memory import LoggedCache
from reconciler.planning.history import recall
from reconciler.ports import KvCache
from tests.scenario.test_rollouts import NEW, OLD, SETTINGS, kinds
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.runtime import FakeRuntime

HOW = replace(SETTINGS, pool="l4")
SPEC = {"gpu_pools": {"l4": {"gpu": "L4"}}}


class Telling(FakeRuntime):
    """The fake runtime with servers that say how large their caches are; `None` breaks."""

    cache: KvCache | None = KvCache(40_000, 4.88)
    breaks = False

    async def kv_cache(self, url: str) -> KvCache | None:
        """Return what every server says."""
        if self.breaks:
            raise SluiceError("RUN-005", where=url, what="it does not answer", retryable=True)
        return self.cache


async def rolled(home: Path, *, cache: KvCache | None, breaks: bool = False, pool: str | None = "l4") -> LoopWorld:
    bench = LoopWorld(home)
    bench.runtime = Telling(*bench.platforms.values())
    bench.runtime.cache, bench.runtime.breaks = cache, breaks
    await bench.serve(OLD)
    begun = await bench.begin(NEW, replace(HOW, pool=pool))
    ended = await bench.run(with_spec(begun))
    assert ended.phase is Phase.PROMOTED, ended.reason
    return bench


def with_spec(rollout: Rollout) -> Rollout:
    return replace(rollout, regions=tuple(replace(part, spec=SPEC) for part in rollout.regions))


async def test_it_is_recorded_once_with_the_release_and_the_gpu(tmp_path: Path) -> None:
    bench = await rolled(tmp_path, cache=KvCache(40_000, 4.88))
    assert (await kinds(bench)).count("kv_cache") == 1
    found = (await recall(bench.store, ENVIRONMENT)).logged
    [(address, logged)] = found.items()
    assert address == Address(ENVIRONMENT, "local", "chat")
    assert logged == LoggedCache(NEW.id, "L4", 40_000, 4.88, logged.at)
    assert logged.at.endswith("Z")


@pytest.mark.parametrize(
    ("cache", "breaks", "pool"),
    [
        (None, False, "l4"),
        (KvCache(1, 1.0), True, "l4"),
        (KvCache(1, 1.0), False, None),
        (KvCache(1, 1.0), False, "gone"),
    ],
    ids=["it says nothing", "it does not answer", "no pool", "another pool"],
)
async def test_without_a_figure_or_a_gpu_nothing_is_recorded_and_the_rollout_goes_on(
    tmp_path: Path, cache: KvCache | None, breaks: bool, pool: str | None
) -> None:
    bench = await rolled(tmp_path, cache=cache, breaks=breaks, pool=pool)
    assert "kv_cache" not in await kinds(bench)
