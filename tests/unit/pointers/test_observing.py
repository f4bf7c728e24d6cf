"""A fault of the flag document is named on the endpoints, and stands between nobody and the slots and weights."""

from __future__ import annotations

import asyncio
from pathlib import Path

from environments.names import Address
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.planning.observe import observe
from reconciler.pointers.flagd import FlagdPointers
from reconciler.pointers.flags import RESOLUTION_PCT
from reconciler.ports import DrawnRelease, ReleaseSplit, SlotAddress, finished
from reconciler.ports.adapters import RegionReader
from tests.support.builders.releases import release
from tests.support.fakes.platform import FakePlatform

ADDRESS = Address("test", "local", "chat")
ONE = release("one", prompt="p1")


async def served(folder: Path) -> RegionReader:
    platform = FakePlatform("test", "local")
    await finished(platform.start, SlotAddress(ADDRESS, "a"), ONE, fence=1)
    await platform.weigh(ADDRESS, {"a": 100.0, "b": 0.0}, fence=1)
    return RegionReader("local", platform, FlagdPointers(folder))


def seen(region: RegionReader) -> ObservedEndpoint:
    state = asyncio.run(observe([region]))
    assert state.unreachable == {}
    return state.endpoints[ADDRESS]


def test_shares_of_every_prompt_are_those_of_the_draw(tmp_path: Path) -> None:
    region = asyncio.run(served(tmp_path))
    drawn = (
        DrawnRelease("chat-1", 10.0, {"system": "new", "tone": "kind"}),
        DrawnRelease(ONE.id, 90.0, {"system": "old"}),
    )
    asyncio.run(region.pointers.publish("chat", ReleaseSplit("chat", drawn, "r1"), fence=1))
    found = seen(region)
    shares = (("chat-1", 10.0), (ONE.id, 90.0))
    assert found.prompts == {"system": shares, "tone": shares}
    assert (found.pointer_problem, found.prompt_resolution_pct) == (None, RESOLUTION_PCT)


def test_a_damaged_document_is_named_and_weights_are_seen_all_the_same(tmp_path: Path) -> None:
    region = asyncio.run(served(tmp_path))
    (tmp_path / "flags.json").write_text("{")
    found = seen(region)
    assert found.weights == {"a": 100.0, "b": 0.0}
    assert found.slots["a"].release == ONE
    assert found.prompts == {}
    assert found.pointer_problem is not None
    assert "damaged" in found.pointer_problem
