"""Runs the engine once and prints what it measured: `python -m tests.bench.load.engine_child URL RATE SECONDS`.

Imports `loadtests`. Started by the bench.
"""

from __future__ import annotations

import sys
import time

from loadtests.__main__ import say
from loadtests.engine import LoadRun, run_load
from loadtests.loops import run_fast
from loadtests.profile import FixedLength, Poisson, Profile
from loadtests.target import checked_target
from tests.bench.load.generators import TOKENS, WARMUP_S


def main() -> None:
    """Run and print `{"ttft_s": {id: seconds}, "cpu_s": seconds}`; CPU covers the run and its warm-up, scaled to it."""
    url, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    profile = Profile(
        profile="bench",
        arrivals=Poisson(kind="poisson", rate_rps=rate),
        duration_s=seconds,
        warmup_s=WARMUP_S,
        timeout_s=10.0,
        prompt_tokens=FixedLength(kind="fixed", tokens=32),
        output_tokens=FixedLength(kind="fixed", tokens=TOKENS),
        max_in_flight=5000,
        max_requests=int(rate * seconds * 2),
    )
    target = checked_target(url, allowed=[url], model="m", name="bench")
    before = time.process_time()
    run: LoadRun = run_fast(run_load(profile, (target,)))
    cpu_s = time.process_time() - before
    done = [stream for stream in run.arms[0] if stream.ok and stream.session >= 0]
    sent = max(1, len(run.arms[0]))
    ttft = {stream.request_id: stream.ttft_s for stream in done}
    say({"ttft_s": ttft, "cpu_s": cpu_s * len(done) / sent})


if __name__ == "__main__":
    main()
