"""The demo's clients: streaming chats at a steady rate, each user with the prompt that the flags give them.

Runs as a process of its own and writes what it counted to a file, until it is told to end. Imports httpx, the
OpenFeature SDK and the flag file's provider.
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

_USERS = 500
_TOKENS = 16
_REQUESTS_MAX = 30_000
_QUESTIONS = (
    "where is my parcel",
    "I want a refund for my order",
    "why is my bill so high",
    "please change my email",
    "my phone is broken",
    "when is the store open",
    "what is the price of this phone",
)
_STORY = 40 * "it was on the way for a week " + "and now I want my money back"
"""What one user in eight sends: some 320 tokens."""


class Clients:
    """Users of one endpoint. `counts` holds requests by outcome and by release."""

    def __init__(self, url: str, flags: Path, report: Path) -> None:
        self._url, self._flags, self._report = url, flags, report
        self.counts: Counter[str] = Counter()
        self.prompts: Counter[str] = Counter()
        self.first_failure: str | None = None

    async def run(self, rate_rps: float, stop: asyncio.Event) -> None:
        """Send requests at a steady rate, whatever the server does, until `stop`."""
        import httpx
        from openfeature import api

        from reconciler.pointers.provider import FlagFileProvider

        api.set_provider(FlagFileProvider(self._flags))
        limits = httpx.Limits(max_connections=400)
        began, tasks = time.monotonic(), set()
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            for number in range(_REQUESTS_MAX):
                await asyncio.sleep(max(0.0, began + number / rate_rps - time.monotonic()))
                if stop.is_set():
                    break
                task = asyncio.create_task(self._one(client, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                if number % 10 == 0:
                    self._write()
            await asyncio.gather(*tasks)
        self._write()

    async def _one(self, client: object, number: int) -> None:
        import httpx

        if not isinstance(client, httpx.AsyncClient):
            raise TypeError("client")
        drawn, prompt = self._drawn(f"user-{number % _USERS}")
        messages = [
            {"role": "system", "content": prompt},
            {"role": "user", "content": _STORY if number % 8 == 0 else _QUESTIONS[number % len(_QUESTIONS)]},
        ]
        body = {"model": "chat", "messages": messages, "max_tokens": _TOKENS, "stream": True, "temperature": 0.0}
        headers = {"x-sluice-release": drawn}
        try:
            async with client.stream("POST", f"{self._url}/chat/completions", json=body, headers=headers) as answer:
                content = b"".join([part async for part in answer.aiter_bytes()])
        except httpx.HTTPError as error:
            self._failed(f"{type(error).__name__} {error}")
            return
        release = answer.headers.get("x-sluice-release", "?")
        if 400 <= answer.status_code < 500:
            self.counts["rejected"] += 1
            self.counts[f"rejected by {release}"] += 1
        elif answer.status_code != 200 or b"data: [DONE]" not in content:
            self._failed(f"HTTP {answer.status_code} {content[-80:]!r}")
        else:
            self.counts["ok"] += 1
            self.counts[f"release {release}"] += 1

    def _drawn(self, user: str) -> tuple[str, str]:
        """Return the release that a user is given, and its prompt."""
        from openfeature import api
        from openfeature.evaluation_context import EvaluationContext

        flags = api.get_client()
        release = flags.get_string_value("chat.release", "", EvaluationContext(user))
        text = flags.get_string_value("chat.system", "Be brief.", EvaluationContext(user, {"release": release}))
        self.prompts[text] += 1
        return release, text

    def _failed(self, why: str) -> None:
        self.counts["failed"] += 1
        self.first_failure = self.first_failure or why

    def _write(self) -> None:
        told = {"counts": self.counts, "prompts": self.prompts, "first_failure": self.first_failure}
        partial = self._report.with_suffix(".partial")
        partial.write_text(json.dumps(told))
        partial.replace(self._report)


async def _main(url: str, flags: str, report: str, rate_rps: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Clients(url, Path(flags), Path(report)).run(float(rate_rps), stop)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(*sys.argv[1:5]))
