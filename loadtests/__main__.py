"""`python -m loadtests`: runs one profile against one allowed target, or searches its capacity; prints JSON.

Imports the modules of `loadtests`. The locust entry starts it as a child with `--events` and reads requests as they
end; people use it by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments.errors import SluiceError
from loadtests.engine import Hooks, run_load
from loadtests.loops import run_fast
from loadtests.profile import Profile
from loadtests.profile_file import load_profile
from loadtests.result import result_of
from loadtests.search import find_capacity
from loadtests.stream import Stream
from loadtests.target import Target, checked_target

_FLUSH_S = 0.2


def say(value: Any) -> None:
    """Print one line of JSON, whole: Python's unbuffered output (`-u`) loses what a full pipe does not take."""
    with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as out:
        out.write(json.dumps(value) + "\n")


class _Feed:
    """Prints finished requests in batches, from a thread, so that a slow reader does not hold up the load."""

    def __init__(self) -> None:
        self._batch: list[list[Any]] = []

    def add(self, stream: Stream) -> None:
        """Take one finished request; warm-up is left out."""
        if stream.session < 0:
            return
        ttft = stream.ttft_s
        first_ms = None if ttft is None else round(ttft * 1e3, 3)
        e2e_ms = round((stream.end - stream.at) * 1e3, 3)
        self._batch.append([first_ms, e2e_ms, stream.tokens, str(stream.outcome), stream.detail])

    async def run(self) -> None:
        """Print what has gathered, five times a second, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Print what has gathered."""
        batch, self._batch = self._batch, []
        if batch:
            say({"done": batch})


class _Parent:
    """Notices that the parent has gone: its end of our standard input closes, also when it is killed."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()

    async def listen(self) -> None:
        """Wait for the end of standard input."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()
        self._gone.set()

    async def reason(self) -> str | None:
        """Return why the load must stop: the abort hook of the engine."""
        return "whoever started this load has gone" if self._gone.is_set() else None


async def _fed(profile: Profile, target: Target, options: argparse.Namespace) -> dict[str, Any]:
    feed, parent = _Feed(), _Parent()
    hooks = Hooks(abort=parent.reason, on_done=feed.add, shard=options.shard, start_in_s=options.start_in_s)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(parent.listen())]
    try:
        return result_of(await run_load(profile, (target,), folder=options.profile.parent, hooks=hooks)).to_json()
    finally:
        for task in tasks:
            task.cancel()
        feed.flush()


async def _run(profile: Profile, target: Target, options: argparse.Namespace) -> dict[str, Any]:
    hooks = Hooks(shard=options.shard, start_in_s=options.start_in_s)
    if options.search:
        return (await find_capacity(profile, target, folder=options.profile.parent, hooks=hooks)).to_json()
    if options.events:
        return {"result": await _fed(profile, target, options)}
    return result_of(await run_load(profile, (target,), folder=options.profile.parent, hooks=hooks)).to_json()


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise argparse.ArgumentTypeError("write it as I/N with I below N, such as 0/2")
    return int(index), int(count)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests", description="open-loop load on one allowed target")
    parser.add_argument("--profile", type=Path, required=True, help="YAML file; loadtests/profiles/ has some")
    parser.add_argument("--url", required=True, help="base URL of the target")
    parser.add_argument("--allow", action="append", required=True, help="URL that may be loaded; repeat for more")
    parser.add_argument("--model", required=True, help="model name to ask for")
    parser.add_argument("--slot", choices=("a", "b"), help="slot to ask for through the gateway")
    parser.add_argument("--shard", type=_shard, default=(0, 1), help="send the I-th of N parts, I/N from 0")
    parser.add_argument("--start-in-s", type=float, default=0.0, help="wait before the warm-up")
    parser.add_argument("--search", action="store_true", help="find the highest rate that keeps the SLO")
    parser.add_argument("--events", action="store_true", help="print requests as they end; stop when stdin closes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load; 0 when it completed, 4 when it was stopped, 1 on an error, which is printed with its code."""
    options = _options(arguments)
    try:
        profile = load_profile(options.profile)
        target = checked_target(
            options.url, allowed=options.allow, model=options.model, name=options.url, slot=options.slot
        )
        answer = run_fast(_run(profile, target, options))
    except SluiceError as error:
        print(error, file=sys.stderr)
        return 1
    say(answer)
    return 4 if answer.get("result", answer).get("outcome", "completed") != "completed" else 0


if __name__ == "__main__":
    sys.exit(main())
