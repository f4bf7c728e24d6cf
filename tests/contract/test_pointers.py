"""The prompts' split: what is published is read back, and users get it as OpenFeature's evaluator for flagd says."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from environments.errors import SluiceError
from reconciler.pointers.flagd import FlagdPointers
from reconciler.pointers.flags import integer_weights
from reconciler.pointers.provider import FlagFileProvider
from reconciler.ports import PromptSplit

USERS = [f"user-{n}" for n in range(4_000)]
OLD, NEW = "chat-0000000000", "chat-1111111111"


def split(share_pct: float, *, endpoint: str = "chat", prompt: str = "system", seed: str = "r1") -> PromptSplit:
    variants = ((NEW, "new {{x}} “ü”\n", share_pct), (OLD, "old", 100 - share_pct))
    return PromptSplit(endpoint, prompt, variants, seed)


async def holders(folder: Path, share_pct: float, **more: str) -> set[str]:
    """Publish a share and return the users who get the challenger's prompt."""
    await FlagdPointers(folder).publish("chat", [split(share_pct, **more)], fence=1)
    core = FlagdCore()
    core.set_flags((folder / "flags.json").read_text())
    found = {user: core.resolve_string_value("chat.system", "?", EvaluationContext(user)).variant for user in USERS}
    assert set(found.values()) <= {OLD, NEW}
    return {user for user, variant in found.items() if variant == NEW}


async def test_what_is_published_is_read_back(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path / "eu")
    assert await pointers.read() == ()
    chat = [split(10), split(10, prompt="tone")]
    await pointers.publish("chat", chat, fence=3)
    whole = PromptSplit("search", "system", ((OLD, "find", 100.0),), "r0")
    await pointers.publish("search", [whole], fence=1)
    assert await pointers.read() == (*chat, whole)
    await pointers.publish("chat", [], fence=3)
    assert await pointers.read() == (whole,)
    assert sorted(os.listdir(tmp_path / "eu")) == ["flags.json", "flags.json.lock"]


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 1, 10, 12.5, 33.3, 50, 99.9, 100])
async def test_shares_survive_exactly(share: float, tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", [split(share)], fence=1)
    [found] = await pointers.read()
    assert [s for _, _, s in found.variants] == pytest.approx([share, 100 - share], abs=1e-9)


def test_weights_are_whole_and_short() -> None:
    assert integer_weights([1, 99]) == (1, 99)
    assert integer_weights([0.5, 99.5]) == (5, 995)
    assert integer_weights([12.5, 87.5]) == (125, 875)
    assert sum(integer_weights([100 / 3, 200 / 3])) == 100_000_000


async def test_a_user_who_has_the_challenger_keeps_it(tmp_path: Path) -> None:
    ladder = [await holders(tmp_path, share) for share in (0, 0.5, 1, 10, 33.3, 50, 100)]
    for smaller, larger in itertools.pairwise(ladder):
        assert smaller < larger
    assert ladder[0] == set()
    assert ladder[-1] == set(USERS)
    assert await holders(tmp_path, 10) == ladder[3]


async def test_shares_are_what_they_say(tmp_path: Path) -> None:
    for share in (1, 10, 50):
        found = len(await holders(tmp_path, share))
        expected = len(USERS) * share / 100
        assert abs(found - expected) < 5 * math.sqrt(expected * (1 - share / 100)), share


async def test_another_rollout_begins_with_other_users(tmp_path: Path) -> None:
    first, second = await holders(tmp_path, 10, seed="r1"), await holders(tmp_path, 10, seed="r2")
    assert len(first & second) < 0.2 * len(first)


@pytest.mark.parametrize(("share", "variant"), [(50, OLD), (99, OLD), (100, NEW)])
async def test_users_without_a_key_get_the_champion(share: float, variant: str, tmp_path: Path) -> None:
    await FlagdPointers(tmp_path).publish("chat", [split(share)], fence=1)
    core = FlagdCore()
    core.set_flags((tmp_path / "flags.json").read_text())
    for context in (None, EvaluationContext(), EvaluationContext("")):
        assert core.resolve_string_value("chat.system", "?", context).variant == variant


async def test_a_flag_says_where_it_comes_from(tmp_path: Path) -> None:
    await FlagdPointers(tmp_path).publish("chat", [split(10)], fence=7)
    core = FlagdCore()
    core.set_flags((tmp_path / "flags.json").read_text())
    found = core.resolve_string_value("chat.system", "?", EvaluationContext("ann"))
    expected = {"endpoint": "chat", "prompt": "system", "seed": "r1", "challenger": NEW, "champion": OLD}
    assert found.flag_metadata == {**expected, "fence.chat": 7}


async def test_an_old_owner_publishes_nothing(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", [split(10)], fence=5)
    await pointers.publish("chat", [], fence=6)
    before = (tmp_path / "flags.json").read_bytes()
    with pytest.raises(SluiceError, match="LEASE-002"):
        await pointers.publish("chat", [split(50)], fence=5)
    assert (tmp_path / "flags.json").read_bytes() == before
    await pointers.publish("search", [split(50, endpoint="search")], fence=1)
    assert [s.endpoint for s in await pointers.read()] == ["search"]


async def test_unchanged_content_is_not_rewritten(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", [split(10)], fence=1)
    before = (tmp_path / "flags.json").stat()
    await pointers.publish("chat", [split(10)], fence=1)
    assert (tmp_path / "flags.json").stat() == before
    await pointers.publish("chat", [split(20)], fence=1)
    assert (tmp_path / "flags.json").stat().st_ino != before.st_ino


async def test_writers_of_different_endpoints_lose_nothing(tmp_path: Path) -> None:
    names = [f"e{n}" for n in range(12)]
    await asyncio.gather(
        *(FlagdPointers(tmp_path).publish(name, [split(10, endpoint=name)], fence=1) for name in names)
    )
    assert Counter(s.endpoint for s in await FlagdPointers(tmp_path).read()) == Counter(names)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"flags": {"x": {}}, "metadata": {}}', '{"flags": [], "metadata": {}}', "\ufffe"]
)
async def test_a_damaged_document_is_told_and_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text(content)
    pointers = FlagdPointers(tmp_path)
    for call in (pointers.read(), pointers.publish("chat", [split(10)], fence=1)):
        with pytest.raises(SluiceError) as refused:
            await call
        assert refused.value.code == "PTR-002"
    assert (tmp_path / "flags.json").read_text() == content


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "eu").write_text("in the way")
    with pytest.raises(SluiceError) as refused:
        await FlagdPointers(tmp_path / "eu").publish("chat", [split(10)], fence=1)
    assert refused.value.code == "PTR-001"


@pytest.mark.parametrize(
    "wrong",
    [
        PromptSplit("chat", "system", (), "r1"),
        PromptSplit("chat", "system", ((NEW, "a", 10.0), (OLD, "b", 80.0)), "r1"),
        PromptSplit("chat", "system", ((OLD, "a", 50.0), (OLD, "b", 50.0)), "r1"),
        PromptSplit("search", "system", ((OLD, "a", 100.0),), "r1"),
    ],
)
async def test_a_wrong_split_is_a_mistake_of_the_caller(wrong: PromptSplit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a split|add up"):
        await FlagdPointers(tmp_path).publish("chat", [wrong], fence=1)
    assert not (tmp_path / "flags.json").exists()


async def test_the_provider_follows_the_file(tmp_path: Path) -> None:
    from openfeature import api

    provider = FlagFileProvider(tmp_path / "flags.json")
    api.set_provider(provider, "pointers")
    client = api.get_client("pointers")
    ann = EvaluationContext("ann")
    assert client.get_string_value("chat.system", "default", ann) == "default"
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", [split(0)], fence=1)
    assert client.get_string_value("chat.system", "default", ann) == "old"
    await pointers.publish("chat", [split(100)], fence=1)
    assert client.get_string_value("chat.system", "default", ann) == "new {{x}} “ü”\n"
    (tmp_path / "flags.json").unlink()
    assert client.get_string_value("chat.system", "default", ann).startswith("new")


async def test_the_document_names_its_schema(tmp_path: Path) -> None:
    await FlagdPointers(tmp_path).publish("chat", [split(1)], fence=1)
    content = json.loads((tmp_path / "flags.json").read_text())
    assert content["$schema"].startswith("https://flagd.dev/")
    parts = content["flags"]["chat.system"]["targeting"]["if"][1]["fractional"]
    assert parts == [{"cat": ["r1", {"var": "targetingKey"}]}, [NEW, 1], [OLD, 99]]
