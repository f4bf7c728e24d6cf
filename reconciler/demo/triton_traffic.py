"""Clients of the tour over Triton: questions in KServe's protocol at a steady rate, counted by how they ended.

Runs as a process of its own and writes what it counted to a file, until it is told to end. Imports httpx.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

_REQUESTS_MAX = 60_000
_QUESTIONS = (
    "where is my parcel",
    "I want a refund for my order",
    "why is my bill so high",
    "hello there",
    "my phone is broken",
    "good morning to you",
)
"""Two of six have no word that a model knows."""


class Clients:
    """Users of one model. `counts` holds requests by outcome and by release."""

    def __init__(self, url: str, report: Path) -> None:
        self._url, self._report = url, report
        self.counts: Counter[str] = Counter()

    async def run(self, rate_rps: float, stop: asyncio.Event) -> None:
        """Send requests at a steady rate, whatever the server does, until `stop`."""
        import httpx

        began, tasks = time.monotonic(), set()
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=200), timeout=30, trust_env=False) as client:
            for number in range(_REQUESTS_MAX):
                await asyncio.sleep(max(0.0, began + number / rate_rps - time.monotonic()))
                if stop.is_set():
                    break
                task = asyncio.create_task(self._one(client, _QUESTIONS[number % len(_QUESTIONS)]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                if number % 20 == 0:
                    self._write()
            await asyncio.gather(*tasks)
        self._write()

    async def _one(self, client: httpx.AsyncClient, question: str) -> None:
        import httpx

        tensor = {"name": "QUESTION", "shape": [1, 1], "datatype": "BYTES", "data": [question]}
        try:
            answer = await client.post(f"{self._url}/infer", json={"inputs": [tensor]})
        except httpx.HTTPError:
            self.counts["failed by nobody"] += 1
            return
        outcome = "ok" if answer.status_code == httpx.codes.OK else "failed"
        self.counts[f"{outcome} by {answer.headers.get('x-sluice-release', 'nobody')}"] += 1

    def _write(self) -> None:
        partial = self._report.with_suffix(".partial")
        partial.write_text(json.dumps(self.counts))
        partial.replace(self._report)


async def _main(url: str, report: str, rate_rps: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Clients(url, Path(report)).run(float(rate_rps), stop)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(*sys.argv[1:4]))
