"""`python -m tests.bench.judge [--quick]`: the judge beside its peers on simulated traffic, as a table and a picture.

Every run has its own seed, so the figures repeat. What was measured is kept, and not measured again while the code is
the same.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.judge.catalog import all_cases, chosen
from tests.bench.judge.figures import figures
from tests.bench.judge.measured import Results
from tests.bench.judge.pieces import Pieces, version
from tests.bench.judge.report import save, table
from tests.bench.judge.work import Batch, Task, run_batch, tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; exit 0 when every figure reaches what it must."""
    options = _parse(arguments)
    scale = 0.05 if options.quick else options.scale
    every = all_cases(scale)
    try:
        wanted = every if options.only is None else chosen(every, options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    pieces = Pieces(options.out / "judge")
    kept = [batch for batch in pieces.kept(every) if not (options.fresh and batch.case in wanted)]
    began = time.perf_counter()
    batches = _measured(pieces.left(tasks(wanted), kept), kept, pieces, options)
    batches.sort(key=lambda batch: (batch.case.name, batch.first))
    found = figures(Results(batches), scale)
    print("\n" + table(found))
    runs = sum(len(batch.judged.exposed) for batch in batches)
    print(f"\n{runs:,} runs of version {version()}, in {time.perf_counter() - began:.0f} s now")
    for path in save(found, options.out):
        print(f"wrote {path}")
    missed = [figure.name for figure in found if figure.met is False]
    if missed:
        print(f"{len(missed)} figures are not met: {'; '.join(missed)}")
    return 1 if missed and not options.quick else 0


def _measured(left: list[Task], kept: list[Batch], pieces: Pieces, options: argparse.Namespace) -> list[Batch]:
    """Return the batches that were kept or are measured now; each is kept as soon as it is there."""
    until_s = time.perf_counter() + 60.0 * options.minutes
    known: dict[str, dict[int, Batch]] = {}
    for batch in kept:
        known.setdefault(batch.case.name, {})[batch.first] = batch
    with ExitStack() as stack:
        for done, batch in enumerate(_run(left, min(options.workers, len(left)), stack), 1):
            same = known.setdefault(batch.case.name, {})
            same[batch.first] = batch
            pieces.keep(batch.case, list(same.values()))
            print(f"\r{done} of {len(left)} batches", end="", flush=True)
            if time.perf_counter() > until_s:
                break
    return [batch for same in known.values() for batch in same.values()]


def _run(left: list[Task], workers: int, stack: ExitStack) -> Iterator[Batch]:
    """Run the tasks in so many processes; a single one needs no other than this."""
    if workers <= 1:
        return map(run_batch, left)
    pool = stack.enter_context(multiprocessing.get_context("spawn").Pool(workers))
    return pool.imap_unordered(run_batch, left)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.judge", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs: about a minute")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the runs of every scenario")
    parser.add_argument(
        "--only", nargs="*", metavar="NAME", help="measure these scenarios or groups (* fits anything), or none at all"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after so long, with the runs done by then"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="folder for JSON, Markdown and PNG")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
