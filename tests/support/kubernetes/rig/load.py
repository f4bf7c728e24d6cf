"""Clients in the pods' network: streams at a steady pace whatever comes back, each told in a line of a file.

`python -m tests.support.kubernetes.rig.load PORT PATH RATE TOKENS FILE`, until SIGTERM, and then until nothing is open.
Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from tests.support.clients import completion, post

_PATIENCE_S = 60.0


class Load:
    """Sends requests to one path. A client that finds nobody is a failed request like any other."""

    def __init__(self, port: int, path: str, tokens: int, file: TextIO) -> None:
        self._port, self._path, self._file = port, path, file
        self._body = completion(tokens, model=path.split("/")[1])

    async def run(self, rate_rps: float, stop: asyncio.Event) -> None:
        """Send until told to stop, at the times at which an open loop has to."""
        begun, sent = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                sent += 1
                group.create_task(self._one())
                await asyncio.sleep(max(0.0, begun + sent / rate_rps - time.monotonic()))

    async def _one(self) -> None:
        begun = time.monotonic()
        try:
            answer = await asyncio.wait_for(post(self._port, self._path, self._body), _PATIENCE_S)
            told = {"status": answer.status, "ok": not answer.failed, "by": answer.headers.get("x-served-by", "")}
            if answer.failed:
                told["why"] = answer.error or answer.body[:200].decode(errors="replace")
        except TimeoutError:
            told = {"status": 0, "ok": False, "by": "", "why": "no whole answer in time"}
        self._file.write(json.dumps({"begun": begun, "ended": time.monotonic(), **told}) + "\n")


async def main(port: int, path: str, rate_rps: float, tokens: int, report: Path) -> None:
    """Send until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with report.open("w", buffering=1) as file:
        await Load(port, path, tokens, file).run(rate_rps, stop)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])))
