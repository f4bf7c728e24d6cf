"""LoopWorld: how long until the weights of many endpoints are back, when all of them are rolled back at once.

Run as `python -m tests.bench.mass_rollback`. Platforms in memory, whose verbs take 10 ms each; a real PostgreSQL server
(and SQLite beside it), real leases and a real ledger: what is measured is what the reconciler itself adds. Prints one
JSON object; times in seconds from the call to the last endpoint whose traffic is back, and to the end of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from reconciler.core.plan.plan import Scope
from reconciler.operations.roll_back import RollBack
from reconciler.store.connect import open_store
from tests.support.builders.declared import Declared, never_asked
from tests.support.builders.releases import ENVIRONMENT
from tests.support.fakes.loop_world import LoopWorld
from tests.support.fakes.platform import Call
from tests.support.servers.postgres import running_postgres

VERB_S = 0.01


async def measure(url: str, endpoints: int) -> dict[str, object]:
    """Promote a second release everywhere without traffic to judge, then roll all endpoints back at once."""
    with tempfile.TemporaryDirectory() as folder:
        bench = LoopWorld(Path(folder))
        bench.store = open_store(url, home=Path(folder) / ".sluice", root=Path(folder))
        declared = Declared(bench)
        how = {"strategy": "blue_green", "bake_s": 0, "warmup_requests": 1}
        for model in ("v1", "v2"):
            for n in range(endpoints):
                declared.serve(f"e{n}", model, slo={}, rollout=how)
            begun = time.monotonic()
            outcomes = (await declared.apply()).values()
            bad = [outcome.summary for outcome in outcomes if not outcome.good]
            assert not bad, bad
            applied_s = time.monotonic() - begun
        back: dict[str, float] = {}

        async def slowly(call: Call) -> None:
            await asyncio.sleep(VERB_S)
            if call.verb == "weigh":
                back[call.address.endpoint] = time.monotonic()

        bench.platforms["local"].after = slowly
        begun = time.monotonic()
        work = RollBack(declared.planner(), bench.store, declared.applier(), to=None, reason="bench", agree=never_asked)
        found = await work.run(Scope())
        ended = time.monotonic()
        assert len(found) == endpoints
        assert all(each.good for each in found)
        verified = await bench.store.verify(ENVIRONMENT)
        assert verified.ok, verified.problem
        await bench.store.close()
        times = sorted(at - begun for at in back.values())
        return {
            "endpoints": endpoints,
            "first_back_s": round(times[0], 3),
            "half_back_s": round(times[len(times) // 2], 3),
            "all_back_s": round(times[-1], 3),
            "all_ended_s": round(ended - begun, 3),
            "applied_s": round(applied_s, 3),
            "ledger_entries": verified.checked,
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=200)
    endpoints = parser.parse_args().endpoints
    found = {"sqlite": asyncio.run(measure("sqlite:///store.db", endpoints))}
    with running_postgres() as server:
        found["postgresql"] = asyncio.run(measure(server.new_database(), endpoints))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
