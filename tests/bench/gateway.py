"""Rig of a cluster: how long from `weigh` to weights in force and to the first request that the new arm answers.

Run as `python -m tests.bench.gateway`. Real control plane, Envoy Gateway and Envoy, streams at a steady pace from
inside the pods' network. Prints one JSON object; times in milliseconds. `in_force` is the whole call: the fence, the
route's server-side apply, and the word of the gateway's controller. Of the requests that began after the
call and that the new arm answered, `first_request` is the first one's start and `first_answer` the end of the first
that ended; `first_to_in_force` is the ratio of the medians of start and weights in force. `share_error_pct`
is the largest distance between the share of requests and the weight of 10 %, over the times at which it was in force.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from tests.bench.weights import spread
from tests.support.kubernetes.rig.clients import Sent
from tests.support.kubernetes.rig.rig import Rig, traffic_rig
from tests.support.kubernetes.rig.stage import declared
from tests.support.kubernetes.rig.two_slots import TwoSlots, two_slots

ENDPOINT = "chat"
STEPS = ((0.0, 100.0), (100.0, 0.0), (90.0, 10.0), (100.0, 0.0))
DWELL_S, SETTLED_S = 0.3, 5.0


async def measure(rig: Rig, two: TwoSlots, *, changes: int, per_second: float) -> dict[str, object]:
    """Change weights under load and return what it took."""
    in_force: list[float] = []
    flips: list[tuple[float, str]] = []
    shares: list[tuple[float, float]] = []
    with rig.clients(rate_rps=per_second, endpoint=ENDPOINT) as clients:
        await asyncio.to_thread(clients.wait_for_answers)
        begun = time.monotonic()
        for change in range(changes):
            a, b = STEPS[change % len(STEPS)]
            decided = time.monotonic()
            await two.weigh(a, b)
            in_force.append(time.monotonic() - decided)
            if 100.0 in (a, b) and change % len(STEPS) < 2:
                flips.append((decided, two.two if b else two.one))
            await asyncio.sleep(DWELL_S)
            if b == 10.0 and not shares:
                shares.append((time.monotonic(), time.monotonic() + SETTLED_S))
                await asyncio.sleep(SETTLED_S)
        elapsed = time.monotonic() - begun
    sent = clients.sent()
    found = [(at, answered(sent, at, model)) for at, model in flips]
    first = spread([min(each.begun for each in answers) - at for at, answers in found if answers])
    found_in_force = spread(in_force)
    return {
        "changes": changes,
        "requests": len(sent),
        "requests_per_s": round(sum(each.begun > begun for each in sent) / elapsed, 1),
        "failed": sum(not each.ok for each in sent),
        "in_force_ms": found_in_force,
        "first_request_ms": first,
        "first_answer_ms": spread([min(each.ended for each in answers) - at for at, answers in found if answers]),
        "first_to_in_force": round(first["median"] / found_in_force["median"], 2),
        "share_error_pct": round(max((abs(share(sent, span, two.two) - 10.0) for span in shares), default=0.0), 2),
    }


def answered(sent: list[Sent], decided: float, model: str) -> list[Sent]:
    """Return the requests that began after a moment and that a model answered."""
    return [each for each in sent if each.begun >= decided and each.model == model]


def share(sent: list[Sent], span: tuple[float, float], model: str) -> float:
    """Return a model's share in percent of the requests that began in a span of time."""
    inside = [each for each in sent if span[0] <= each.begun < span[1]]
    return 100.0 * sum(each.model == model for each in inside) / max(1, len(inside))


async def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=48)
    parser.add_argument("--per-second", type=float, default=200.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, traffic_rig(declared({ENDPOINT: ENDPOINT})) as rig:
        async with two_slots(rig, Path(folder) / "stage", ENDPOINT) as two:
            found = await measure(rig, two, changes=options.changes, per_second=options.per_second)
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
