"""A reflector does the right thing after each way in which a list or a watch can go wrong; no test waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from environments.errors import SluiceError
from reconciler.kubernetes.answers import NoAnswer, Refusal
from reconciler.kubernetes.explain import Asked
from reconciler.kubernetes.kinds import POD, Body
from reconciler.kubernetes.reflector import Pace, Reflector
from reconciler.kubernetes.wire import Answer, Request

END = {"k8s.io/initial-events-end": "true"}
Stream = list["bytes | Exception"]


def line(event: str, name: str = "", version: str = "1", **metadata: object) -> bytes:
    """Return a line of a watch."""
    body = {"metadata": {"name": name, "namespace": "team", "resourceVersion": version, **metadata}}
    return json.dumps({"type": event, "object": body}).encode()


def error(code: int, reason: str, message: str = "") -> bytes:
    """Return an ERROR event."""
    return json.dumps({"type": "ERROR", "object": {"code": code, "reason": reason, "message": message}}).encode()


def whole(version: str, *names: str) -> Stream:
    """Return the lines of a streamed list."""
    return [*(line("ADDED", name, "1") for name in names), line("BOOKMARK", "", version, annotations=END)]


def page(version: str, *names: str, more: str = "") -> Answer:
    """Return one page of a list."""
    items = [{"metadata": {"name": name, "namespace": "team"}} for name in names]
    return Answer(json.dumps({"metadata": {"resourceVersion": version, "continue": more}, "items": items}))


@dataclass
class Script:
    """An API server that plays one part after another, and refuses what the real one refuses."""

    parts: list[Stream | Answer | Refusal]
    streams_lists: bool = True
    asked: list[Request] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, request: Request) -> Answer:
        """Answer a page of a list."""
        assert "watch" not in request.params
        part = await self._next(request)
        if isinstance(part, Refusal):
            raise part
        assert isinstance(part, Answer), "a list was asked for where the script has a watch"
        return part

    @contextlib.asynccontextmanager
    async def lines(self, request: Request, idle_s: float) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch."""
        params = request.params
        if "sendInitialEvents" in params and not self.streams_lists:
            self.asked.append(request)
            raise Refusal(422, {"reason": "Invalid", "message": "sendInitialEvents is forbidden for watch"})
        if ("resourceVersionMatch" in params) != ("sendInitialEvents" in params):
            raise Refusal(422, {"reason": "Invalid", "message": "resourceVersionMatch is forbidden for watch"})
        part = await self._next(request)
        if isinstance(part, Refusal):
            raise part
        assert isinstance(part, list), "a watch was asked for where the script has a page"
        yield self._played(part)

    async def _next(self, request: Request) -> Stream | Answer | Refusal:
        if not self.parts:
            self.over.set()
            await asyncio.Event().wait()
        self.asked.append(request)
        return self.parts.pop(0)

    async def _played(self, part: Stream) -> AsyncIterator[bytes]:
        for entry in part:
            if isinstance(entry, Exception):
                raise entry
            yield entry


@dataclass
class Rig:
    """A reflector, its script, a clock that only sleeping moves, and the pauses."""

    script: Script
    view: Reflector = field(init=False)
    slept: list[float] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        asked = Asked("eu-west-1 (context test)", "watch", POD, "team")
        self.view = Reflector(
            self.script, asked, labels="a=b", pace=Pace(), clock=lambda: self.now, sleep=self.sleep, draw=lambda: 0.5
        )

    async def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def names(self) -> list[str]:
        """Return the names in the view, sorted."""
        return sorted(name for _, name in self.view.items)

    def param(self, name: str) -> list[str]:
        """Return a parameter of each request, empty where it is not sent."""
        return [request.params.get(name, "") for request in self.script.asked]


async def play(*parts: Stream | Answer | Refusal, streams_lists: bool = True) -> Rig:
    """Run a reflector to the end of a script."""
    rig = Rig(Script(list(parts), streams_lists))
    task = asyncio.get_running_loop().create_task(rig.view.run())
    over = asyncio.get_running_loop().create_task(rig.script.over.wait())
    done, _ = await asyncio.wait({task, over}, timeout=10.0, return_when=asyncio.FIRST_COMPLETED)
    for one in (task, over):
        one.cancel()
    await asyncio.gather(task, over, return_exceptions=True)
    assert over in done, f"the script was not played to its end: {done}"
    return rig


async def test_a_list_shows_when_it_is_whole_and_the_watch_goes_on_from_its_bookmark() -> None:
    rig = await play([line("ADDED", "half")], whole("7", "a", "b"), [line("DELETED", "a", "9")], [])
    assert rig.names == ["b"]
    assert rig.param("sendInitialEvents") == ["true", "true", "", ""]
    assert rig.param("resourceVersion") == ["", "", "7", "9"]
    assert rig.param("labelSelector") == ["a=b"] * 4
    assert set(rig.param("timeoutSeconds")) == {"450"}


async def test_bookmarks_move_the_version() -> None:
    rig = await play([*whole("7", "a"), line("BOOKMARK", version="40")], [])
    assert rig.param("resourceVersion") == ["", "40"]


@pytest.mark.parametrize(
    "gone",
    [
        [error(410, "Expired", "too old resource version: 7 (50)")],
        Refusal(410, {"reason": "Gone"}),
        Refusal(504, {"reason": "Timeout", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}),
        Refusal(500, {"message": "Too large resource version: 9, current: 3"}),
    ],
)
async def test_a_version_that_is_gone_leads_to_a_new_list_that_replaces_the_old(gone: Stream | Refusal) -> None:
    rig = await play(whole("7", "a", "gone"), gone, whole("50", "a", "new"))
    assert rig.names == ["a", "new"]
    assert rig.param("resourceVersion") == ["", "7", ""]
    assert rig.slept[1] == 0.5, "a jitter, because every reader of a server comes back at the same moment"


async def test_what_readers_see_stays_while_a_list_comes_in_and_grows_older() -> None:
    rig = await play(whole("7", "a"), Refusal(410, {}), [line("ADDED", "b"), NoAnswer("cut")])
    assert rig.names == ["a"]
    assert rig.view.age_s == sum(rig.slept) > 0.0
    with pytest.raises(SluiceError, match=r"KUBE-008(?s:.*)cut"):
        rig.view.fresh(0.1)
    assert list(rig.view.fresh(60.0)) == [("team", "a")]


async def test_a_server_without_streamed_lists_is_read_by_pages() -> None:
    pages = page("7", "a", more="next"), page("8", "b")
    rig = await play(*pages, [line("ADDED", "c", "9")], Refusal(410, {}), page("20", "d"), [], streams_lists=False)
    assert rig.names == ["d"]
    assert rig.view.items["team", "d"]["kind"] == "Pod"
    assert rig.param("continue") == ["", "", "next", "", "", "", ""]
    assert rig.param("resourceVersion") == ["", "", "", "7", "9", "", "20"], "the version of the first page"
    assert rig.param("sendInitialEvents").count("true") == 1


async def test_a_page_that_expired_begins_the_list_again() -> None:
    rig = await play(
        page("7", "a", more="next"), Refusal(410, {"reason": "Expired"}), page("9", "b"), [], streams_lists=False
    )
    assert rig.names == ["b"]


async def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    busy: Body = {"message": "busy", "details": {"retryAfterSeconds": 3}}
    rig = await play(Refusal(429, {"message": "busy"}, 17.0), Refusal(503, busy), whole("7", "a"))
    assert rig.slept[:2] == [17.0, 3]


async def test_pauses_grow_to_a_bound_and_begin_anew_after_a_success() -> None:
    down: list[Stream | Answer | Refusal] = [[NoAnswer("down")] for _ in range(7)]
    rig = await play(*down, whole("7", "a"), [NoAnswer("down")])
    assert rig.slept == [0.75, 1.5, 3.0, 6.0, 12.0, 22.5, 22.5, 0.5, 0.75]


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_circle() -> None:
    rig = await play(whole("7", "a"), [], [], [])
    assert rig.slept == [0.5, 0.75, 1.5, 3.0]


async def test_a_line_that_is_no_event_ends_the_connection_and_not_the_reflector() -> None:
    rig = await play([*whole("7", "a"), b"<html>"], [line("ADDED", "b", "8")])
    assert rig.names == ["a", "b"]


@pytest.mark.parametrize(("code", "known"), [(401, "KUBE-002"), (404, "KUBE-004")])
async def test_what_nobody_can_wait_for_is_said_at_once(code: int, known: str) -> None:
    rig = await play(Refusal(code, {"message": "no"}))
    with pytest.raises(SluiceError) as problem:
        await rig.view.synced(60.0)
    assert problem.value.code == known


async def test_a_list_that_does_not_come_is_said_in_time() -> None:
    rig = Rig(Script([]))
    with pytest.raises(SluiceError, match="KUBE-013"):
        await rig.view.synced(0.01)
