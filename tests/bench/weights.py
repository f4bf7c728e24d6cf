"""LoopWorld: how long from `weigh` to weights in force, how long a look takes, what a supervisor weighs.

Run as `python -m tests.bench.weights`. Real Envoy, two vLLM doubles, steady streams meanwhile. Prints one JSON object;
times in milliseconds. `in_force` is the whole call: lease check, validation, both files, Envoy's own confirmation.
`first_answer` goes on to the first request that the new slot answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles

from reconciler.ports import read_all
from tests.support.clients import steady, stream
from tests.support.processes import guarded_home
from tests.support.worlds import LocalWorld, serve

STEPS = ((0.0, 100.0), (100.0, 0.0), (99.0, 1.0), (50.0, 50.0), (0.5, 99.5))


async def measure(world: LocalWorld, *, changes: int, per_second: float) -> dict[str, object]:
    """Change weights under load and return what it took."""
    await serve(world, "a", "one")
    await serve(world, "b", "two")
    await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    in_force: list[float] = []
    first_answer: list[float] = []
    begun = time.monotonic()
    async with steady(world.port, per_second=per_second) as answers:
        for change in range(changes):
            a, b = STEPS[change % len(STEPS)]
            decided = time.monotonic()
            await world.platform.weigh(world.address, {"a": a, "b": b}, fence=1)
            in_force.append(time.monotonic() - decided)
            if 100.0 in (a, b):
                assert (await stream(world.port)).slot == ("a" if a else "b")
                first_answer.append(time.monotonic() - decided)
            await asyncio.sleep(0.1)
        elapsed = time.monotonic() - begun
    looks = [await took(lambda: read_all(world.platform)) for _ in range(20)]
    return {
        "changes": changes,
        "requests": len(answers),
        "requests_per_s": round(len(answers) / elapsed, 1),
        "failed": sum(answer.failed for answer in answers),
        "in_force_ms": spread(in_force),
        "first_answer_ms": spread(first_answer),
        "observe_ms": spread(looks),
        "supervisor_rss_mib": resident_mib(world.supervised("a").supervisor.pid),
    }


async def took(call: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that a call takes."""
    begun = time.monotonic()
    await call()
    return time.monotonic() - begun


def spread(seconds: list[float]) -> dict[str, float]:
    """Return median, 95th percentile and largest, in milliseconds."""
    values = [1000 * s for s in seconds]
    high = quantiles(values, n=20, method="inclusive")[-1]
    return {"median": round(median(values), 1), "p95": round(high, 1), "max": round(max(values), 1)}


def resident_mib(pid: int) -> float:
    """Return a process's resident memory."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return round(int(text.split("VmRSS:")[1].split()[0]) / 1024, 1)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--per-second", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, guarded_home(Path(folder)) as home:
        world = LocalWorld(home, Path(folder) / "models")
        found = asyncio.run(measure(world, changes=options.changes, per_second=options.per_second))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
