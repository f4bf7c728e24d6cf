"""The draw of releases: what is published is read back, and users get it as OpenFeature's evaluator for flagd says."""

from __future__ import annotations

import asyncio
import fcntl
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
from reconciler.ports import DrawnRelease, ReleaseSplit

USERS = [f"user-{n}" for n in range(4_000)]
OLD, NEW = "chat-0000000000", "chat-1111111111"
NEW_PROMPTS, OLD_PROMPTS = {"system": "new {{x}} “ü”\n"}, {"system": "old"}
FOREIGN = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}


def split(
    share_pct: float,
    *,
    endpoint: str = "chat",
    seed: str = "r1",
    new: dict[str, str] = NEW_PROMPTS,
    old: dict[str, str] = OLD_PROMPTS,
) -> ReleaseSplit:
    drawn = (DrawnRelease(NEW, share_pct, new), DrawnRelease(OLD, 100 - share_pct, old))
    return ReleaseSplit(endpoint, drawn, seed)


def whole(release: str, prompts: dict[str, str], *, endpoint: str = "chat") -> ReleaseSplit:
    return ReleaseSplit(endpoint, (DrawnRelease(release, 100.0, prompts),), "r0")


def core_of(folder: Path) -> FlagdCore:
    core = FlagdCore()
    core.set_flags((folder / "flags.json").read_text())
    return core


def asked(core: FlagdCore, flag: str, user: str | None = None, release: str | None = None) -> str:
    """Return what an application gets that falls back to `mine`."""
    context = EvaluationContext(user, {} if release is None else {"release": release})
    return core.resolve_string_value(f"chat.{flag}", "mine", context).value


async def published(folder: Path, wanted: ReleaseSplit) -> FlagdCore:
    await FlagdPointers(folder).publish("chat", wanted, fence=1)
    return core_of(folder)


async def holders(folder: Path, share_pct: float, *, seed: str = "r1") -> set[str]:
    """Publish a share and return the users who are given the challenger."""
    core = await published(folder, split(share_pct, seed=seed))
    found = {user: asked(core, "release", user) for user in USERS}
    assert set(found.values()) <= {OLD, NEW}
    return {user for user, release in found.items() if release == NEW}


async def test_what_is_published_is_read_back(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path / "eu")
    assert await pointers.read() == ()
    chat = split(10, new=NEW_PROMPTS | {"tone": "kind"})
    await pointers.publish("chat", chat, fence=3)
    search = whole(OLD, {"system": "find"}, endpoint="search")
    await pointers.publish("search", search, fence=1)
    assert await pointers.read() == (chat, search)
    await pointers.publish("chat", None, fence=3)
    assert await pointers.read() == (search,)
    assert sorted(os.listdir(tmp_path / "eu")) == ["flags.json", "flags.json.lock"]


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 1, 10, 12.5, 33.3, 50, 64.1, 99.9, 100])
async def test_shares_survive_at_the_resolution_that_is_promised(share: float, tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", split(share), fence=1)
    [found] = await pointers.read()
    assert 0 < pointers.resolution_pct < 0.001
    assert [d.share_pct for d in found.releases] == pytest.approx([share, 100 - share], abs=pointers.resolution_pct)


def test_weights_are_whole_and_short() -> None:
    assert integer_weights([1, 99]) == (1, 99)
    assert integer_weights([0.5, 99.5]) == (5, 995)
    assert integer_weights([12.5, 87.5]) == (125, 875)
    assert sum(integer_weights([100 / 3, 200 / 3])) == 100_000_000


async def test_a_prompt_is_that_of_the_release_that_was_drawn(tmp_path: Path) -> None:
    core = await published(tmp_path, split(10))
    assert asked(core, "system", "ann", release=NEW) == "new {{x}} “ü”\n"
    assert asked(core, "system", "ann", release=OLD) == "old"


async def test_without_a_draw_the_prompt_is_the_champions_until_promotion(tmp_path: Path) -> None:
    for share in (1, 50, 99.9):
        core = await published(tmp_path, split(share))
        for release in (None, "chat-of-last-week", ""):
            assert {asked(core, "system", user, release) for user in USERS[:200]} == {"old"}
    core = await published(tmp_path, whole(NEW, NEW_PROMPTS))
    assert asked(core, "system", "ann").startswith("new")


async def test_a_prompt_of_the_challenger_alone_is_for_its_users_alone(tmp_path: Path) -> None:
    core = await published(tmp_path, split(10, new=NEW_PROMPTS | {"tone": "kind"}))
    assert asked(core, "tone", "ann", release=NEW) == "kind"
    assert asked(core, "tone", "ann", release=OLD) == asked(core, "tone", "ann") == "mine"
    core = await published(tmp_path, whole(NEW, NEW_PROMPTS | {"tone": "kind"}))
    assert asked(core, "tone") == "kind"


async def test_a_prompt_of_the_champion_alone_is_everyones(tmp_path: Path) -> None:
    core = await published(tmp_path, split(10, old=OLD_PROMPTS | {"tone": "dry"}))
    assert {asked(core, "tone", "ann", release) for release in (NEW, OLD, None)} == {"dry"}


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


@pytest.mark.parametrize(("share", "release"), [(50, OLD), (99, OLD), (100, NEW)])
async def test_users_without_a_key_get_the_champion(share: float, release: str, tmp_path: Path) -> None:
    core = await published(tmp_path, split(share))
    for context in (None, EvaluationContext(), EvaluationContext("")):
        assert core.resolve_string_value("chat.release", "?", context).value == release


async def test_a_flag_says_where_it_comes_from(tmp_path: Path) -> None:
    await FlagdPointers(tmp_path).publish("chat", split(10), fence=7)
    core, about = core_of(tmp_path), {"endpoint": "chat", "seed": "r1", "challenger": NEW, "champion": OLD}
    for flag, more in (("system", {"prompt": "system"}), ("release", {"draws": "release"})):
        found = core.resolve_string_value(f"chat.{flag}", "?", EvaluationContext("ann"))
        assert found.flag_metadata == {**about, **more, "fence.chat": 7}


async def test_an_old_owner_publishes_nothing(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", split(10), fence=5)
    await pointers.publish("chat", None, fence=6)
    before = (tmp_path / "flags.json").read_bytes()
    with pytest.raises(SluiceError, match="LEASE-002"):
        await pointers.publish("chat", split(50), fence=5)
    assert (tmp_path / "flags.json").read_bytes() == before
    await pointers.publish("search", split(50, endpoint="search"), fence=1)
    assert [s.endpoint for s in await pointers.read()] == ["search"]


async def test_unchanged_content_is_not_rewritten(tmp_path: Path) -> None:
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", split(10), fence=1)
    before = (tmp_path / "flags.json").stat()
    await pointers.publish("chat", split(10), fence=1)
    assert (tmp_path / "flags.json").stat() == before
    await pointers.publish("chat", split(20), fence=1)
    assert (tmp_path / "flags.json").stat().st_ino != before.st_ino


async def test_writers_of_different_endpoints_lose_nothing(tmp_path: Path) -> None:
    names = [f"e{n}" for n in range(12)]
    await asyncio.gather(*(FlagdPointers(tmp_path).publish(name, split(10, endpoint=name), fence=1) for name in names))
    assert Counter(s.endpoint for s in await FlagdPointers(tmp_path).read()) == Counter(names)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"flags": [], "metadata": {}}', '{"flags": {}, "metadata": {"fence.chat": "x"}}', "\ufffe"],
)
async def test_a_damaged_document_is_told_and_left_alone(content: str, tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text(content)
    pointers = FlagdPointers(tmp_path)
    for call in (pointers.read(), pointers.publish("chat", split(10), fence=1)):
        with pytest.raises(SluiceError) as refused:
            await call
        assert refused.value.code == "PTR-002"
        assert "move it away" in refused.value.problem.do
    assert (tmp_path / "flags.json").read_text() == content


async def test_other_peoples_flags_stay_as_they_are(tmp_path: Path) -> None:
    theirs = {
        "$schema": "https://flagd.dev/schema/v0/flags.json",
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
        "flags": {"dark-mode": FOREIGN, "chat.banner": FOREIGN, "odd": {}},
        "metadata": {"owner": "web"},
    }
    (tmp_path / "flags.json").write_text(json.dumps(theirs))
    pointers = FlagdPointers(tmp_path)
    assert await pointers.read() == ()
    await pointers.publish("chat", split(10), fence=1)
    await pointers.publish("chat", split(50), fence=1)
    await pointers.publish("search", split(50, endpoint="search"), fence=1)
    assert [s.endpoint for s in await pointers.read()] == ["chat", "search"]
    await pointers.publish("chat", None, fence=1)
    await pointers.publish("search", None, fence=1)
    after = json.loads((tmp_path / "flags.json").read_text())
    assert after == theirs | {"metadata": {"owner": "web", "fence.chat": 1, "fence.search": 1}}


async def test_a_flag_that_somebody_else_has_put_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text(json.dumps({"flags": {"chat.system": FOREIGN}}))
    with pytest.raises(SluiceError) as refused:
        await FlagdPointers(tmp_path).publish("chat", split(10), fence=1)
    assert refused.value.code == "PTR-003"
    assert "chat.system" in refused.value.problem.what
    assert json.loads((tmp_path / "flags.json").read_text()) == {"flags": {"chat.system": FOREIGN}}


async def test_a_document_of_an_earlier_version_is_published_anew(tmp_path: Path) -> None:
    """It drew each prompt by itself; nothing is read of it, and the next publishing replaces it."""
    old = {
        "state": "ENABLED",
        "variants": {NEW: "new", OLD: "old"},
        "defaultVariant": OLD,
        "metadata": {"endpoint": "chat", "prompt": "gone", "seed": "r0", "challenger": NEW, "champion": OLD},
        "targeting": {"if": [{"var": "targetingKey"}, {"fractional": [[NEW, 1], [OLD, 1]]}]},
    }
    (tmp_path / "flags.json").write_text(json.dumps({"flags": {"chat.gone": old}, "metadata": {"fence.chat": 4}}))
    pointers = FlagdPointers(tmp_path)
    assert await pointers.read() == ()
    await pointers.publish("chat", split(10), fence=4)
    assert set(json.loads((tmp_path / "flags.json").read_text())["flags"]) == {"chat.release", "chat.system"}


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "eu").write_text("in the way")
    with pytest.raises(SluiceError) as refused:
        await FlagdPointers(tmp_path / "eu").publish("chat", split(10), fence=1)
    assert refused.value.code == "PTR-001"


async def test_a_lock_that_stays_taken_is_told_and_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.pointers.flagd._LOCK_WAIT_S", 0.0)
    with (tmp_path / "flags.json.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SluiceError) as taken:
            await FlagdPointers(tmp_path).publish("chat", split(10), fence=1)
    assert (taken.value.code, taken.value.retryable) == ("PTR-001", True)
    await FlagdPointers(tmp_path).publish("chat", split(10), fence=1)


@pytest.mark.parametrize(
    "wrong",
    [
        ReleaseSplit("chat", (), "r1"),
        ReleaseSplit("chat", (DrawnRelease(NEW, 10.0, {}), DrawnRelease(OLD, 80.0, {})), "r1"),
        ReleaseSplit("chat", (DrawnRelease(NEW, -10.0, {}), DrawnRelease(OLD, 110.0, {})), "r1"),
        ReleaseSplit("chat", (DrawnRelease(OLD, 50.0, {}), DrawnRelease(OLD, 50.0, {})), "r1"),
        whole(OLD, OLD_PROMPTS, endpoint="search"),
    ],
)
async def test_a_wrong_split_is_a_mistake_of_the_caller(wrong: ReleaseSplit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a split|add up"):
        await FlagdPointers(tmp_path).publish("chat", wrong, fence=1)
    assert not (tmp_path / "flags.json").exists()


async def test_the_provider_follows_the_file(tmp_path: Path) -> None:
    from openfeature import api

    provider = FlagFileProvider(tmp_path / "flags.json")
    api.set_provider(provider, "pointers")
    client = api.get_client("pointers")
    ann = EvaluationContext("ann")
    assert client.get_string_value("chat.system", "default", ann) == "default"
    pointers = FlagdPointers(tmp_path)
    await pointers.publish("chat", split(0), fence=1)
    assert client.get_string_value("chat.system", "default", ann) == "old"
    await pointers.publish("chat", split(100), fence=1)
    assert client.get_string_value("chat.system", "default", ann) == "new {{x}} “ü”\n"
    (tmp_path / "flags.json").unlink()
    assert client.get_string_value("chat.system", "default", ann).startswith("new")


async def test_an_application_passes_its_draw_on_through_the_provider(tmp_path: Path) -> None:
    from openfeature import api

    await FlagdPointers(tmp_path).publish("chat", split(50), fence=1)
    api.set_provider(FlagFileProvider(tmp_path / "flags.json"), "draws")
    client = api.get_client("draws")
    pairs = Counter[tuple[str, str]]()
    for user in USERS[:200]:
        release = client.get_string_value("chat.release", "", EvaluationContext(user))
        prompt = client.get_string_value("chat.system", "", EvaluationContext(user, {"release": release}))
        pairs[release, prompt[:3]] += 1
    assert set(pairs) == {(NEW, "new"), (OLD, "old")}


async def test_the_document_names_its_schema(tmp_path: Path) -> None:
    await FlagdPointers(tmp_path).publish("chat", split(1), fence=1)
    content = json.loads((tmp_path / "flags.json").read_text())
    assert content["$schema"].startswith("https://flagd.dev/")
    parts = content["flags"]["chat.release"]["targeting"]["if"][1]["fractional"]
    assert parts == [{"cat": ["r1", {"var": "targetingKey"}]}, [NEW, 1], [OLD, 99]]
