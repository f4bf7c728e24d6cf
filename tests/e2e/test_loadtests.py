"""The load engine against a real server over real sockets: what it records, when it stops, how a fault shows."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from environments.errors import SluiceError
from loadtests.compare import Rounds, Sent, Terms, compare
from loadtests.engine import Hooks, LoadRun, run_load
from loadtests.figures import Comparison
from loadtests.profile import Compare, Constant, FixedLength, Profile, Search, Sessions, Slo
from loadtests.result import ArmResult, result_of
from loadtests.search import find_capacity
from loadtests.stream import Stream
from loadtests.target import Target, checked_target
from reconciler.core.model.verdict import Verdict
from reconciler.gates.load import judge_load, settled
from tests.support.servers.sse_server import Behaviour, SseServer, sse_server


def profile(**changes: Any) -> Profile:
    base: dict[str, Any] = {
        "profile": "e2e",
        "arrivals": Constant(kind="constant", rate_rps=50.0),
        "duration_s": 1.0,
        "warmup_s": 0.2,
        "timeout_s": 10.0,
        "prompt_tokens": FixedLength(kind="fixed", tokens=8),
        "output_tokens": FixedLength(kind="fixed", tokens=5),
    }
    return Profile(**(base | changes))


def target(server: SseServer, *, slot: str | None = None, name: str = "champion") -> Target:
    return checked_target(server.url, allowed=[server.url], model="m", name=name, slot=slot)


async def arm_of(shape: Profile, server: SseServer, **kind: Any) -> tuple[LoadRun, ArmResult]:
    run = await run_load(shape, (target(server),), **kind)
    return run, result_of(run).arms[0]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in this same loop; fail after a minute."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_a_load_sends_what_is_planned_and_counts_every_token(api: str) -> None:
    async with sse_server(Behaviour(ttft_s=0.03)) as server:
        run, arm = await arm_of(profile(api=api), server)
        assert (run.outcome, arm.requests, arm.ok, arm.error_rate) == ("completed", 50, 50, 0.0)
        measured = [stream for stream in run.arms[0] if stream.session >= 0]
        assert {stream.tokens for stream in measured} == {5}
        assert {len(stream.times) for stream in measured} == {5}
        ids = {stream.request_id: stream for stream in measured}
        for name, server_s in server.ttft_s.items():
            stream = ids.get(name.partition("-")[2])
            if stream is not None:
                assert stream.ttft_s is not None
                assert stream.ttft_s >= server_s
        assert arm.ttft_ms.p50 is not None
        assert arm.ttft_ms.p50 >= 30


async def test_connections_are_kept_and_used_again() -> None:
    async with sse_server() as server:
        opened = 0
        listener = asyncio.get_running_loop().create_connection

        async def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal opened
            opened += 1
            return await listener(*args, **kwargs)

        asyncio.get_running_loop().create_connection = counting  # type: ignore[method-assign]
        _, arm = await arm_of(profile(max_in_flight=10), server)
        assert arm.ok == 50
        assert opened <= 10


async def test_a_frozen_server_cannot_hide() -> None:
    async with sse_server() as server:

        def on_done(stream: Stream) -> None:
            if stream.session == 10:
                server.behaviour.frozen = True

        run, arm = await arm_of(profile(timeout_s=0.8), server, hooks=Hooks(on_done=on_done))
        assert run.outcome == "completed"
        assert arm.requests == 50
        assert arm.failures["timeout"] >= 30
        assert arm.ttft_ms.p95 is not None
        assert arm.ttft_ms.p95 >= 800


async def test_waiting_in_line_counts_as_latency() -> None:
    async with sse_server(Behaviour(ttft_s=0.1)) as server:
        shape = profile(max_in_flight=1, arrivals=Constant(kind="constant", rate_rps=20.0), duration_s=0.5)
        _, arm = await arm_of(shape, server)
        assert server.peak_streams == 1
        assert arm.in_flight_max == 1
        assert arm.ttft_ms.max is not None
        assert arm.ttft_ms.max >= 9 * 100 - 9 * 50


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"status": 503}, "http_status"),
        ({"cut_after": 2}, "truncated"),
        ({"error_event": True}, "stream_error"),
        ({"slot": "b"}, "wrong_slot"),
    ],
    ids=lambda value: str(value),
)
async def test_each_fault_is_a_failure_of_its_own_kind(change: dict[str, Any], outcome: str) -> None:
    async with sse_server() as server:

        def on_done(stream: Stream) -> None:
            if stream.session == 9:
                for name, value in change.items():
                    setattr(server.behaviour, name, value)

        run = await run_load(profile(), (target(server, slot="a"),), hooks=Hooks(on_done=on_done))
        arm = result_of(run).arms[0]
        assert arm.failures.get(outcome, 0) >= 30, arm
        assert arm.examples[0].startswith(outcome)


async def test_a_server_that_drops_idle_connections_loses_no_request() -> None:
    async with closing_server() as url:
        shape = profile(arrivals=Constant(kind="constant", rate_rps=20.0))
        run = await run_load(shape, (checked_target(url, allowed=[url], model="m", name="x"),))
        assert result_of(run).arms[0].failures == {}


async def test_a_target_that_is_not_there_is_an_error_before_any_load() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SluiceError) as caught:
            await run_load(profile(), (checked_target(url, allowed=[url], model="m", name="challenger"),))
    assert caught.value.code == "LOAD-020"
    assert caught.value.retryable
    assert caught.value.problem.where == "challenger"


async def test_a_target_that_hangs_from_the_start_is_an_error_by_timeout() -> None:
    async with sse_server(Behaviour(frozen=True)) as server:
        with pytest.raises(SluiceError) as caught:
            await run_load(profile(timeout_s=0.3), (target(server),))
        assert caught.value.code == "LOAD-020"
        assert "timeout" in str(caught.value)
        assert server.requests == 1


async def test_a_target_that_only_fails_is_given_up() -> None:
    async with sse_server() as server:

        def on_done(stream: Stream) -> None:
            if stream.session == 0:
                server.behaviour.status = 500

        shape = profile(duration_s=20.0)
        run, _ = await arm_of(shape, server, hooks=Hooks(on_done=on_done))
        assert (run.outcome, run.code) == ("given_up", "LOAD-022")
        assert server.requests < 200


async def test_the_load_stops_when_live_traffic_suffers() -> None:
    async with sse_server() as server:

        async def abort() -> str | None:
            return "live TTFT doubled" if server.requests > 20 else None

        shape = profile(duration_s=60.0, live_guard={"poll_s": 0.1})
        run, _ = await arm_of(shape, server, hooks=Hooks(abort=abort))
        assert (run.outcome, run.code, run.reason) == ("aborted", "LOAD-023", "live TTFT doubled")
        assert server.requests < 2000
        await until(lambda: server.open_streams == 0)


async def test_a_guard_that_breaks_stops_the_load_too() -> None:
    async with sse_server() as server:

        async def abort() -> str | None:
            raise RuntimeError("metrics are out of reach")

        run, _ = await arm_of(profile(duration_s=60.0), server, hooks=Hooks(abort=abort))
        assert run.outcome == "aborted"
        assert "metrics are out of reach" in run.reason


async def test_a_cancelled_load_leaves_no_stream_open() -> None:
    async with sse_server(Behaviour(itl_s=1.0)) as server:
        shape = profile(duration_s=60.0)
        server.behaviour.itl_s = 0.001
        task = asyncio.create_task(run_load(shape, (target(server),)))
        await until(lambda: server.requests >= 20)
        server.behaviour.itl_s = 5.0
        await until(lambda: server.open_streams >= 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.open_streams == 0)


async def test_turns_follow_each_other_and_start_from_the_answer() -> None:
    async with sse_server() as server:
        talk = Sessions(turns=FixedLength(kind="fixed", tokens=3), think_s=0.05)
        shape = profile(sessions=talk, arrivals=Constant(kind="constant", rate_rps=10.0), warmup_s=0.0)
        run, arm = await arm_of(shape, server)
        by_session: dict[int, list[Stream]] = {}
        for stream in run.arms[0]:
            by_session.setdefault(stream.session, []).append(stream)
        assert len(by_session) == 10
        assert max(len(turns) for turns in by_session.values()) == 3
        for turns in by_session.values():
            assert [stream.turn for stream in turns] == list(range(len(turns)))
            for before, after in itertools.pairwise(turns):
                assert after.at == pytest.approx(before.end + 0.05)
        assert arm.ok == arm.requests
        assert max(len(json.loads(body)["messages"]) for body in server.bodies) == 5


@asynccontextmanager
async def two_servers(**challenger: Any) -> AsyncIterator[tuple[SseServer, SseServer]]:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(sse_server(Behaviour(ttft_s=0.02)))
        two = await stack.enter_async_context(sse_server(Behaviour(**({"ttft_s": 0.02} | challenger))))
        yield one, two


async def test_both_arms_get_the_same_bytes_at_the_same_time() -> None:
    async with two_servers() as (one, two):
        run = await run_load(profile(), (target(one), target(two, name="challenger")))
        assert sorted(one.bodies) == sorted(two.bodies)
        champion, challenger = ({(s.session, s.turn): s.at for s in arm} for arm in run.arms)
        assert champion == challenger
        firsts = [min(pair, key=lambda s: s.sent).arm for pair in zip(*map(by_number, run.arms), strict=True)]
        assert set(firsts) == {0, 1}


def by_number(arm: tuple[Stream, ...]) -> list[Stream]:
    return sorted(arm, key=lambda stream: stream.session)


async def test_a_slower_challenger_is_found_and_more_rounds_are_not_run() -> None:
    async with two_servers(ttft_s=0.2) as (one, two):
        shape = profile(
            arrivals=Constant(kind="constant", rate_rps=100.0),
            duration_s=2.0,
            compare=Compare(metrics=["ttft_p50"]),
            late_ms=200,
        )
        found = await compare(
            shape,
            (target(one), target(two, name="challenger")),
            terms=Terms(alpha=0.01, max_duration_s=60.0),
            decided=lambda figures: settled(figures, max_regression=0.5),
        )
        judged = judge_load(found, max_regression=0.5)
        assert judged.verdict is Verdict.FAIL
        assert found.looks == 1
        assert "ttft_p50" in judged.sentence


async def test_rounds_go_on_until_time_is_up_and_use_other_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("loadtests.compare.perf_counter", lambda: now)

    def a_second_later(figures: Comparison) -> bool:
        nonlocal now
        now += 1.0
        return False

    async with two_servers() as (one, two):
        shape = profile(duration_s=0.5, warmup_s=0.0, compare=Compare(metrics=["ttft_p50"]))
        told: list[Sent] = []
        found = await compare(
            shape,
            (target(one), target(two, name="challenger")),
            terms=Terms(alpha=0.01, max_duration_s=3.0),
            decided=a_second_later,
            told=told.append,
        )
        assert found.out_of_time
        assert found.looks == 3
        assert found.requests == 25 * found.looks
        assert len(set(one.bodies)) == len(one.bodies)
        assert {sent.round for sent in told} == set(range(1, found.looks + 1))


async def test_the_loop_goes_on_while_figures_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever shares the loop renews a lease meanwhile; a cancelled gate does not wait for the figures."""
    turns, begun = 0, asyncio.Event()
    loop = asyncio.get_running_loop()
    release = threading.Event()

    def slow(*_: object) -> Comparison:
        loop.call_soon_threadsafe(begun.set)
        assert release.wait(60)
        raise AssertionError("nobody waits for this")

    monkeypatch.setattr(Rounds, "figures", slow)
    async with two_servers() as (one, two):
        shape = profile(duration_s=0.2, warmup_s=0.0)
        terms = Terms(alpha=0.01, max_duration_s=1.0)
        targets = (target(one), target(two, name="challenger"))
        task = asyncio.create_task(compare(shape, targets, terms=terms, decided=lambda _: True))
        await begun.wait()
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
    assert turns == 100


async def test_the_search_finds_a_rate_between_one_that_works_and_one_that_does_not() -> None:
    async with sse_server(Behaviour(ttft_s=0.1, itl_s=0.0, capacity=2)) as server:
        search = Search(min_rps=15.0, max_rps=120.0, probe_s=2.0, tolerance=0.5)
        promises = Slo(ttft_p95_ms=1500.0, error_rate=0.05)
        # A busy test machine makes the generator late.
        shape = profile(slo=promises, search=search, warmup_s=0.0, timeout_s=5.0, late_ms=10_000)
        found = await find_capacity(shape, target(server))
        assert found.probes[0].kept
        assert not max(found.probes, key=lambda probe: probe.rate_rps).kept
        assert found.rate_rps is not None
        assert 15.0 <= found.rate_rps < 120.0


@asynccontextmanager
async def closing_server() -> AsyncIterator[str]:
    """Serve one answer a connection and close it later without having said so, as servers do with idle clients."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        events = b'data: {"choices":[{"text":"x"}]}\n\ndata: [DONE]\n\n'
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(start + b"%x\r\n%s\r\n0\r\n\r\n" % (len(events), events))
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
