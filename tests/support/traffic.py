"""Open-loop traffic for tests of the whole product: streams at a steady pace from a thread, counted by release."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from types import TracebackType

from tests.support.clients import Answer, post, stream

_SENT_MAX = 60_000
_OPEN_MAX = 400
_TIMEOUT_S = 60.0


class Traffic:
    """Sends whatever comes back, on loopback, bounded in count and in open requests; a context manager.

    `answers` counts by release and by whether the request failed; a request that no release answered has "".
    """

    def __init__(self, port: int, *, per_second: float = 110.0, tokens: int = 3, endpoint: str = "chat") -> None:
        self._port, self._per_second, self._tokens = port, per_second, tokens
        self._path = f"/{endpoint}/v1/completions"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()), daemon=True)
        self.answers: Counter[tuple[str, bool]] = Counter()
        self.failures: list[Answer] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for what is open."""
        self._stop.set()
        self._thread.join(timeout=_TIMEOUT_S + 30)
        assert not self._thread.is_alive()

    def ok(self, release: str) -> int:
        """Return how many whole answers a release gave."""
        return self.answers[release, False]

    def failed(self, *, without: str | None = None) -> int:
        """Return how many requests failed, those of the release `without` left out."""
        return sum(n for (release, bad), n in self.answers.items() if bad and release != without)

    async def _send(self) -> None:
        open_now: set[asyncio.Task[None]] = set()
        begun, sent = time.monotonic(), 0
        while not self._stop.is_set() and sent < _SENT_MAX:
            if len(open_now) < _OPEN_MAX:
                task = asyncio.create_task(self._one())
                open_now.add(task)
                task.add_done_callback(open_now.discard)
            sent += 1
            await asyncio.sleep(max(0.0, begun + sent / self._per_second - time.monotonic()))
        await asyncio.gather(*open_now)

    async def _one(self) -> None:
        try:
            answer = await asyncio.wait_for(self._ask(), _TIMEOUT_S)
        except TimeoutError:
            answer = Answer(error="no whole answer in time")
        self.answers[answer.headers.get("x-sluice-release", ""), answer.failed] += 1
        if answer.failed and len(self.failures) < 20:
            self.failures.append(answer)

    async def _ask(self) -> Answer:
        return await stream(self._port, self._tokens, path=self._path)


class InferenceTraffic(Traffic):
    """The same in KServe's protocol: texts to a model that answers each with one."""

    async def _ask(self) -> Answer:
        tensor = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["where is my order?"]}
        body = json.dumps({"inputs": [tensor]}).encode()
        return await post(self._port, "/chat/v2/models/chat/infer", body)
