"""Slot and prompt of a request are one draw: real flags by flagd's evaluator, real weights by Envoy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext

from reconciler.core.model.release import Artifact, Release
from reconciler.pointers.flagd import FlagdPointers
from reconciler.pointers.provider import FlagFileProvider
from reconciler.ports import DrawnRelease, ReleaseSplit, finished
from tests.support.worlds import LocalWorld, local_home, place, until

pytestmark = pytest.mark.engine
USERS = [f"user-{number}" for number in range(400)]


@dataclass(frozen=True)
class Pair:
    """What one request got: the release whose server answered, and the prompt that it was sent with."""

    release: str
    prompt: str


class Application:
    """An application of a region, as `examples/prompt_client.py` is one."""

    def __init__(self, world: LocalWorld, flags: Path) -> None:
        api.set_provider(FlagFileProvider(flags), "one-draw")
        self._flags = api.get_client("one-draw")
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{world.port}/chat/v1")

    def asks(self, user: str) -> Pair:
        """Draw the user's release, and ask with its prompt."""
        release = self._flags.get_string_value("chat.release", "", EvaluationContext(user))
        prompt = self._flags.get_string_value("chat.system", "", EvaluationContext(user, {"release": release}))
        return self.sends(prompt, {"x-sluice-release": release})

    def asks_without_a_draw(self, user: str) -> Pair:
        """Ask as an application does that knows nothing of draws."""
        return self.sends(self._flags.get_string_value("chat.system", "", EvaluationContext(user)), {})

    def sends(self, prompt: str, headers: dict[str, str]) -> Pair:
        """Send a request and return who answered."""
        answer = self._http.get("/models", headers=headers).raise_for_status()
        return Pair(answer.headers["x-sluice-release"], prompt)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    """Return a real local region."""
    with local_home(tmp_path) as home:
        yield LocalWorld(home, tmp_path / "models")


async def serving(world: LocalWorld, slot: str, word: str, prompt: str) -> Release:
    """Start a release with a prompt and wait until it is ready."""
    made = world.release(word)
    release = replace(made, prompts={"system": Artifact(prompt, f"sha256:{prompt}")}, prompt_texts={"system": prompt})
    await finished(world.platform.start, place(world, slot), release, fence=1)
    await until(world, slot, lambda seen: seen.ready)
    return release


async def shared(world: LocalWorld, old: Release, new: Release, share_pct: float) -> None:
    """Give the challenger a share, as a rollout does: the weight, then the flags."""
    await world.platform.weigh(world.address, {"a": 100 - share_pct, "b": share_pct}, fence=1)
    both = ((new, share_pct), (old, 100 - share_pct))
    drawn = tuple(DrawnRelease(r.id, pct, r.prompt_texts) for r, pct in both if pct)
    await FlagdPointers(world.root).publish("chat", ReleaseSplit("chat", drawn, "r1"), fence=1)


async def test_every_request_has_model_and_prompt_of_one_release(world: LocalWorld) -> None:
    old, new = await serving(world, "a", "one", "be brief"), await serving(world, "b", "two", "be kind")
    whole = {Pair(old.id, "be brief"), Pair(new.id, "be kind")}
    await shared(world, old, new, 10)
    application = Application(world, world.root / "flags.json")
    at_10 = {user: application.asks(user) for user in USERS}
    assert set(at_10.values()) == whole
    given = {user for user, pair in at_10.items() if pair.release == new.id}
    assert abs(len(given) - 40) < 5 * math.sqrt(400 * 0.1 * 0.9)
    assert {user: application.asks(user) for user in USERS} == at_10
    await shared(world, old, new, 50)
    at_50 = {user: application.asks(user) for user in USERS}
    assert set(at_50.values()) == whole
    assert {at_50[user].release for user in given} == {new.id}
    await shared(world, old, new, 100)
    assert {application.asks(user) for user in USERS[:50]} == {Pair(new.id, "be kind")}


async def test_without_a_draw_weights_decide_and_the_prompt_is_the_champions(world: LocalWorld) -> None:
    old, new = await serving(world, "a", "one", "be brief"), await serving(world, "b", "two", "be kind")
    await shared(world, old, new, 50)
    application = Application(world, world.root / "flags.json")
    found = Counter(application.asks_without_a_draw(user) for user in USERS[:100])
    assert set(found) == {Pair(old.id, "be brief"), Pair(new.id, "be brief")}


async def test_a_release_without_a_share_and_an_unknown_one_are_not_followed(world: LocalWorld) -> None:
    old, new = await serving(world, "a", "one", "be brief"), await serving(world, "b", "two", "be kind")
    await shared(world, old, new, 0)
    application = Application(world, world.root / "flags.json")
    for named in (new.id, "chat-0000000000", "", "a", f"{old.id},{new.id}"):
        assert application.sends("", {"x-sluice-release": named}).release == old.id


async def test_drawn_requests_are_counted_with_the_others(world: LocalWorld) -> None:
    old, new = await serving(world, "a", "one", "be brief"), await serving(world, "b", "two", "be kind")
    await shared(world, old, new, 0.5)
    application = Application(world, world.root / "flags.json")
    for _ in range(5):
        assert application.sends("", {"x-sluice-release": new.id}).release == new.id
        assert application.sends("", {"x-sluice-release": old.id}).release == old.id
    found = await world.platform.cohorts(world.address, since_s=0.0)
    assert {slot: sum(c.begun for c in cohorts) for slot, cohorts in found.items()} == {"a": 5, "b": 5}
    told = [cohort for cohorts in found.values() for cohort in cohorts]
    assert len({cohort.weights for cohort in told}) == 1, "they belong to the same split"
    assert [dict(cohort.releases) for cohort in told] == [{"a": old.id, "b": new.id}] * len(told)
