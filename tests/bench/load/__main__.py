"""`python -m tests.bench.load`: streams a second and core that each load generator sustains with its TTFT still right.

Prints a table and ratios, and writes every trial to `.cache/bench/load.json`. Linux only (it pins processes to cores).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict

from tests.bench.load.ceiling import ERROR_MAX_MS, ITL_S, TTFT_S, Trial, ceiling, trial
from tests.bench.load.generators import AIPERF, ROOT, TOKENS, Aiperf, Engine, Generator, Pin, PlainLocust

TOP_RPS = 20_000.0
TARGET = 10.0


def main() -> int:
    """Run the bench; 0 when the engine reaches ten times every rival that was measured, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="3 s a trial and one search a generator, not 6 s and three"
    )
    parser.add_argument("--only", choices=("engine", "locust", "aiperf"), action="append", help="leave the others out")
    parser.add_argument("--realtime", action="store_true", help="run before all other programs (a busy machine; root)")
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("the bench needs two cores: one for the generator, one for the server", file=sys.stderr)
        return 1
    seconds, searches = (3.0, 1) if options.quick else (6.0, 3)
    wanted = options.only or ["engine", "locust", "aiperf"]
    found: dict[str, list[float]] = {}
    log: dict[str, list[Trial]] = {}
    for generator in _generators(wanted):
        for _ in range(searches):
            best, trials = _search(generator, seconds, (Pin(cpus[0], options.realtime), Pin(cpus[1], options.realtime)))
            found.setdefault(generator.name, []).append(best)
            log.setdefault(generator.name, []).extend(trials)
    _write(found, log)
    return _print(found, log)


def _generators(wanted: list[str]) -> list[Generator]:
    chosen: list[Generator] = []
    if "engine" in wanted:
        chosen.append(Engine())
    if "locust" in wanted:
        chosen += [PlainLocust(spread=False), PlainLocust(spread=True)]
    if "aiperf" in wanted and AIPERF.exists():
        chosen.append(Aiperf())
    elif "aiperf" in wanted:
        where = AIPERF.parent.parent.relative_to(ROOT)
        print(
            f"aiperf is left out: it is not installed. To have it: python -m venv {where} && "
            f"{where}/bin/pip install aiperf==0.13.0"
        )
    return chosen


def _search(generator: Generator, seconds: float, pins: tuple[Pin, Pin]) -> tuple[float, list[Trial]]:
    def run(rate: float) -> Trial:
        result = trial(generator, rate, seconds=seconds, pins=pins)
        print(
            f"  {generator.name:28s} {rate:7.1f}/s asked {result.served_rps:7.1f}/s served, "
            f"error p50 {result.error_p50_ms:6.2f} p99 {result.error_p99_ms:7.2f} ms, "
            f"others' CPU {result.foreign_cpu:.2f}: {'kept' if result.kept else 'broken'}",
            flush=True,
        )
        return result

    return ceiling(generator, run, top_rps=TOP_RPS)


def _print(found: dict[str, list[float]], log: dict[str, list[Trial]]) -> int:
    print(f"\nstreams/s on one core at p99 TTFT error ≤ {ERROR_MAX_MS:g} ms; {TOKENS} tokens a stream, server TTFT")
    print(f"{TTFT_S * 1e3:g} ms, {ITL_S * 1e3:g} ms between tokens; median (lowest to highest) of the searches\n")
    print("| generator | streams/s/core | p99 error there | CPU a stream | others' CPU |")
    print("|---|---|---|---|---|")
    middle = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        kept = [one for one in log[name] if one.kept]
        best = min(kept, key=lambda one: abs(one.asked_rps - middle[name]), default=None)
        error = "–" if best is None else f"{best.error_p99_ms:.2f} ms"
        cpu = "–" if best is None or best.cpu_ms_per_stream is None else f"{best.cpu_ms_per_stream:.2f} ms"
        foreign = statistics.mean(one.foreign_cpu for one in log[name])
        streams = f"{middle[name]:.0f} ({min(values):.0f} to {max(values):.0f})"
        print(f"| {name} | {streams} | {error} | {cpu} | {foreign:.2f} |")
    if Engine.name not in middle:
        return 0
    engine = middle[Engine.name]
    rivals = {name: value for name, value in middle.items() if name != Engine.name and value}
    for name, value in rivals.items():
        print(f"\n{Engine.name} / {name}: {engine / value:.1f} times (target: {TARGET:g})")
    return 0 if all(engine >= TARGET * value for value in rivals.values()) else 1


def _write(found: dict[str, list[float]], log: dict[str, list[Trial]]) -> None:
    path = ROOT / ".cache" / "bench" / "load.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = {name: [asdict(one) for one in ones] for name, ones in log.items()}
    path.write_text(json.dumps({"streams_per_s_core": found, "trials": trials}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
