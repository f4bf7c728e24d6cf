"""`python -m tests.bench.judge [--quick]`: the judge beside its peers on simulated traffic, as a table and a picture.

Every run has its own seed, so the figures repeat.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.judge.cases import cases
from tests.bench.judge.figures import Results, figures
from tests.bench.judge.report import save, table
from tests.bench.judge.work import Batch, run_batch, tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; exit 0 when every figure reaches what it must."""
    options = _parse(arguments)
    scale = 0.05 if options.quick else options.scale
    began = time.perf_counter()
    work = tasks(cases(scale))
    batches: list[Batch] = []
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for batch in pool.imap_unordered(run_batch, work):
            batches.append(batch)
            print(f"\r{len(batches)} of {len(work)} batches", end="", flush=True)
            if time.perf_counter() - began > 60.0 * options.minutes:
                break
    batches.sort(key=lambda batch: (batch.case.name, batch.first))
    found = figures(Results(batches), scale)
    print("\n" + table(found))
    print(f"\n{sum(len(batch.judged.exposed) for batch in batches):,} runs in {time.perf_counter() - began:.0f} s")
    for path in save(found, options.out):
        print(f"wrote {path}")
    missed = [figure.name for figure in found if figure.met is False]
    if missed:
        print(f"{len(missed)} figures are not met: {'; '.join(missed)}")
    return 1 if missed and not options.quick else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.judge", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs: about half a minute")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the runs of every scenario")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after so long, with the runs done by then"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="folder for JSON, Markdown and PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
