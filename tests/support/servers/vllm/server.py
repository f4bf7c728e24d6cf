"""The double itself: routes, one request's course with its faults, and an orderly end on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from tests.support.servers.vllm import answers
from tests.support.servers.vllm.answers import Ask, BadRequest
from tests.support.servers.vllm.faults import Fate, Faults, fate_of, read_faults
from tests.support.servers.vllm.http import Reply, Request, read_request
from tests.support.servers.vllm.metrics import Metrics
from tests.support.servers.vllm.options import Options, parse_options

GENERATING = {"/v1/completions": False, "/v1/chat/completions": True}
"""Path → whether it is the chat interface."""


def run(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT; print `listening on HOST:PORT` when the port is open."""
    options = parse_options(arguments)
    faults = read_faults(options.model)
    if faults.exit_on_start:
        sys.exit("the double was told to fail at its start")
    asyncio.run(Double(options, faults).serve())


class Double:
    """One server. Counts since its start; nothing survives a restart. `name` stands in a header of every answer."""

    def __init__(self, options: Options, faults: Faults, name: str = "") -> None:
        self.options = options
        self.metrics = Metrics(options.served, time.time(), options.max_num_seqs, options.buckets)
        self.requests = 0
        self.disconnects = 0
        self.last_prompt: str | None = None
        self._head = (f"x-served-by: {name}",) if name else ()
        self._digest = answers.folder_digest(options.model)
        self._places = asyncio.Semaphore(options.max_num_seqs)
        self._answering: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._stop = asyncio.Event()
        self._let_go = asyncio.Event()
        self.take(faults)

    async def serve(self) -> None:
        """Open the port, answer, and on SIGTERM finish what is in flight before the port's process ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if await self._stopped_within(self.faults.start_s):
            return
        server = await asyncio.start_server(self.accept, self.options.host, self.options.port)
        host, port = server.sockets[0].getsockname()[:2]
        print(f"listening on {host}:{port}", flush=True)
        if self.faults.crash_after_s is not None:
            loop.call_later(self.faults.crash_after_s, die)
        await self._stop.wait()
        server.close()
        await self.finish()

    async def finish(self) -> None:
        """Take no more requests, and wait for those in flight as long as vLLM would."""
        self._stop.set()
        for writer in self._idle:
            writer.close()
        if self._answering:
            await asyncio.wait(self._answering, timeout=self.options.shutdown_timeout_s)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds) if seconds else None
        return self._stop.is_set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            while request := await self._next_request(reader, writer):
                task = asyncio.create_task(self._answer(request, reader, Reply(writer, self._head)))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
                await task
                if request.headers.get("connection", "").lower() == "close":
                    return
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.LimitOverrunError):
            self.disconnects += 1
        finally:
            writer.close()

    async def _next_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
        """Return the connection's next request, None when the client or this process has had enough."""
        if self._stop.is_set():
            return None
        self._idle.add(writer)
        try:
            return await read_request(reader)
        finally:
            self._idle.discard(writer)

    async def _answer(self, request: Request, reader: asyncio.StreamReader, reply: Reply) -> None:
        try:
            await self._route(request, reader, reply)
        except BadRequest as refusal:
            body = answers.error(str(refusal), status=refusal.status, kind=refusal.kind, param=refusal.param)
            await reply.json(refusal.status, body)
        finally:
            if request.path not in ("/health", "/metrics", "/control") and reply.status:
                self.metrics.http[request.path, request.method, f"{reply.status // 100}xx"] += 1

    async def _route(self, request: Request, reader: asyncio.StreamReader, reply: Reply) -> None:
        match request.method, request.path:
            case _, "/control":
                await self._control(request, reply)
            case "GET", "/health":
                await reply.whole(503 if self.faults.never_ready else 200, b"")
            case "GET", "/metrics":
                await reply.whole(200, self.metrics.render().encode(), "text/plain; version=1.0.0; charset=utf-8")
            case "GET", "/v1/models":
                await reply.json(200, self._models())
            case "POST", path if path in GENERATING:
                await self._generate(request, reader, reply, chat=GENERATING[path])
            case _:
                await reply.json(404, {"detail": "Not Found"})

    async def _control(self, request: Request, reply: Reply) -> None:
        """Show what was seen; with POST, first change faults, or die at once for `{"crash": true}`."""
        if request.method == "POST":
            changes: dict[str, Any] = json.loads(request.body or b"{}")
            if changes.pop("crash", False):
                die()
            try:
                self.take(self.faults.changed(changes))
            except ValueError as error:
                raise BadRequest(str(error)) from error
        seen = {"pid": os.getpid(), "requests": self.requests, "disconnects": self.disconnects}
        await reply.json(200, {**seen, "last_prompt": self.last_prompt, "faults": vars(self.faults)})

    def take(self, faults: Faults) -> None:
        """Behave like this from now on."""
        self.faults = faults
        (self._let_go.clear if faults.held else self._let_go.set)()

    def _models(self) -> dict[str, Any]:
        return answers.models(
            served=self._served,
            root=self.faults.wrong_root or str(self.options.model),
            created=int(self.metrics.started_at),
            max_model_len=self.options.max_model_len,
        )

    @property
    def _served(self) -> str:
        return self.faults.wrong_model or self.options.served

    async def _generate(self, request: Request, reader: asyncio.StreamReader, reply: Reply, *, chat: bool) -> None:
        if self.faults.never_ready:
            raise BadRequest("the engine is not ready", status=503, kind="ServiceUnavailable")
        limit = self.options.max_model_len
        ask = answers.parse_ask(request.body, chat=chat, served=self._served, max_model_len=limit)
        fate = fate_of(self.faults, self.faults.first + self.requests)
        if self.faults.crash_after_requests is not None and self.requests >= self.faults.crash_after_requests:
            die()
        self.requests += 1
        self.last_prompt = ask.prompt
        await self._let_go.wait()
        if fate.hangs:
            await _wait_until_gone(reader)
        if fate.fails:
            self.metrics.finished["error"] += 1
            raise BadRequest("the engine failed", status=self.faults.error_status, kind="InternalServerError")
        await (self._stream(ask, fate, reply) if ask.stream else self._whole(ask, fate, reply))

    async def _whole(self, ask: Ask, fate: Fate, reply: Reply) -> None:
        identity, created = self._name(), int(time.time())
        async with contextlib.aclosing(self._tokens(ask, fate, lambda: _strike(fate, reply))) as stream:
            words = [word async for word in stream]
        text, served = "".join(words), self._served
        body = answers.answer(ask, identity=identity, served=served, created=created, text=text, tokens=len(words))
        await reply.json(200, body)

    async def _stream(self, ask: Ask, fate: Fate, reply: Reply) -> None:
        identity, created, served = self._name(), int(time.time()), self._served
        chunk = functools.partial(answers.chunk, ask, identity=identity, served=served, created=created)
        await reply.start_events()
        tokens = 0
        async with contextlib.aclosing(self._tokens(ask, fate, lambda: _strike(fate, reply))) as stream:
            async for word in stream:
                if ask.chat and not tokens:
                    await reply.event(_compact(chunk(text=None, last=False)))
                tokens += 1
                await reply.event(_compact(chunk(text=word, last=tokens == ask.max_tokens)))
        if ask.usage:
            end = answers.usage_chunk(ask, identity=identity, served=served, created=created, tokens=tokens)
            await reply.event(_compact(end))
        await reply.event("[DONE]")
        await reply.end_events()

    async def _tokens(self, ask: Ask, fate: Fate, strike: Callable[[], None]) -> AsyncGenerator[str, None]:
        """Yield the answer's tokens at the request's pace and count them; `strike` is called in the middle."""
        arrived = time.monotonic()
        self.metrics.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.metrics.waiting -= 1
        self.metrics.running += 1
        try:
            self.metrics.observe("request_queue_time", time.monotonic() - arrived)
            previous = arrived
            for index in range(ask.max_tokens):
                await asyncio.sleep(fate.itl_s if index else fate.ttft_s)
                if index == ask.max_tokens // 2:
                    strike()
                now = time.monotonic()
                self.metrics.observe("inter_token_latency" if index else "time_to_first_token", now - previous)
                previous = now
                yield answers.token(self._digest, ask.prompt, index)
            self._finish(ask, first_s=fate.ttft_s, whole_s=previous - arrived)
        finally:
            self.metrics.running -= 1
            self._places.release()

    def _finish(self, ask: Ask, *, first_s: float, whole_s: float) -> None:
        self.metrics.observe_tokens(prompt=ask.prompt_tokens, generation=ask.max_tokens)
        self.metrics.finished["length"] += 1
        self.metrics.observe("e2e_request_latency", whole_s)
        if ask.max_tokens > 1:
            self.metrics.observe("request_time_per_output_token", (whole_s - first_s) / (ask.max_tokens - 1))

    def _name(self) -> str:
        return f"{self._digest[:8]}{self.requests:08x}"


def die() -> None:
    """End this process as the kernel would when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def _strike(fate: Fate, reply: Reply) -> None:
    """Crash or cut the connection, if that is the request's fate."""
    if fate.crashes:
        die()
    if fate.breaks:
        reply.drop()
        raise ConnectionResetError("the double was told to drop this answer")


async def _wait_until_gone(reader: asyncio.StreamReader) -> None:
    """Return by raising when the client has closed its side; what it sends meanwhile is thrown away."""
    while await reader.read(4096):
        continue
    raise ConnectionResetError("the client has stopped waiting")


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))
