"""Rig of a cluster: how long a challenger that fails more often keeps its traffic, from its weight to weight 0.

Run as `python -m tests.bench.detection`. Each run is an endpoint of its own, 20 requests a second of which the
challenger gets 10 %; the champion fails 1 % of its answers and the challenger 5 %; the judge is as it is by default.
All endpoints roll out at once under one `sluice apply`. Prints one JSON object; times in seconds by the route's weight.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from tests.support.kubernetes.rig.rig import traffic_rig
from tests.support.kubernetes.rig.stage import ENVIRONMENT, Stage, declared

ASKED_MEDIAN_S = 110.0
LOOK_S = 0.2
PATIENCE_S = 1800.0
CHAMPION, CHALLENGER = 0.01, 0.05
STEP_MAX_S = 1500
APART = 100_000
"""How far runs lie apart in the sequence that says which requests fail, so that each has its own."""


def measure(stage: Stage, endpoints: list[str], *, per_second: float) -> dict[str, object]:
    """Roll out a challenger that fails at every endpoint; return how long each kept its weight."""
    stage.model("v1", error_rate=CHAMPION)
    bad = {name: f"bad-{name}" for name in endpoints}
    for number, model in enumerate(bad.values()):
        stage.model(model, error_rate=CHALLENGER, first=number * APART)
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    with contextlib.ExitStack() as sending:
        for name in endpoints:
            clients = sending.enter_context(stage.rig.clients(rate_rps=per_second, endpoint=name))
            clients.wait_for_answers()
        stage.declare("v1", **bad)
        command = stage.begin("apply", ENVIRONMENT, "--yes", stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while command.poll() is None and time.monotonic() < deadline:
            for name in endpoints:
                weight, now = stage.weight("b", name), time.monotonic()
                if weight > 0:
                    began.setdefault(name, now)
                elif name in began:
                    ended.setdefault(name, now)
            time.sleep(LOOK_S)
    back = {name: ended[name] - began[name] for name in ended if stage.weight("a", name) == 100}
    return told(sorted(back.values()), len(endpoints))


def told(times: list[float], runs: int) -> dict[str, object]:
    """Return what the times say; a run that was not rolled back has none."""
    found: dict[str, object] = {"runs": runs, "rolled_back": len(times), "times_s": [round(t, 1) for t in times]}
    if len(times) < 2:
        return found
    return found | {
        "median_s": round(median(times), 1),
        "p90_s": round(quantiles(times, n=10, method="inclusive")[-1], 1),
        "median_to_asked": round(median(times) / ASKED_MEDIAN_S, 2),
    }


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--per-second", type=float, default=20.0)
    options = parser.parse_args()
    endpoints = [f"chat-{number}" for number in range(options.runs)]
    spec = declared(
        dict.fromkeys(endpoints, "support"), replicas=1, steps_pct=[10], step_min_s=60, step_max_s=STEP_MAX_S, judge={}
    )
    with tempfile.TemporaryDirectory() as folder, traffic_rig(spec) as rig:
        stage = Stage(rig, Path(folder) / "stage", spec)
        stage.declare("v1")
        stage.run("apply", ENVIRONMENT, "--yes")
        print(json.dumps(measure(stage, endpoints, per_second=options.per_second)))


if __name__ == "__main__":
    main()
