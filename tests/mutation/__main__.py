"""Try a sample of the core's mutants and say which of them no test notices: `make mutate`."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.mutation import runs
from tests.mutation.sample import CORE, ROOMS, Mutant, sample
from tests.mutation.survivors import Survivor, survivors

KILLED_MIN_PCT = 85.0


def main(arguments: Sequence[str]) -> int:
    """Return 0 when enough mutants are killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--mutants", default="300", help="how many are tried, or `all`, which takes hours (300)")
    parser.add_argument("--seed", type=int, default=1, help="draws another sample (1)")
    parser.add_argument("--in", dest="only", default="", help="only functions whose `FILE NAME` holds this text")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    runs.prepare(chosen.workers)
    names = [name for name in runs.outcomes() if chosen.only in Mutant(name).function]
    drawn = sorted(names) if chosen.mutants == "all" else sample(names, int(chosen.mutants), chosen.seed)
    print(f"trying {len(drawn)} of {len(names)} mutants (seed {chosen.seed})", flush=True)
    runs.run([f"{CORE}*"] if chosen.mutants == "all" and not chosen.only else drawn, chosen.workers)
    said = runs.outcomes()
    return report({name: said[name] or runs.BROKEN for name in drawn})


def report(said: Mapping[str, str]) -> int:
    """Print the score by room and every mutant that was not killed, with the reason where one is known."""
    killed = [name for name, outcome in said.items() if outcome in (runs.KILLED, runs.TIMEOUT)]
    for room in ROOMS:
        mine = [name for name in said if Mutant(name).room == room]
        if mine:
            print(f"  {room:10} {len([n for n in mine if n in killed]):4} of {len(mine):4} killed")
    counts = Counter(said.values())
    score = 100.0 * len(killed) / len(said)
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"{score:.1f} % killed ({told}); at least {KILLED_MIN_PCT:g} % are asked for")
    known = {(each.where, each.old, each.new): each for each in survivors()}
    left = [(name, *runs.change_of(name)) for name in said if name not in killed]
    reasons = [(name, old, new, known.get((Mutant(name).function, old, new))) for name, old, new in left]
    _tell("with a reason in tests/mutation/survivors.yaml", [each for each in reasons if each[3]])
    _tell("that no test notices and the list does not name", [each for each in reasons if not each[3]])
    return 0 if score >= KILLED_MIN_PCT else 1


def _tell(what: str, found: Sequence[tuple[str, str, str, Survivor | None]]) -> None:
    print(f"\n{len(found)} {what}")
    for name, old, new, known in found:
        print(f"  {Mutant(name).function}\n    - {old}\n    + {new}")
        if known:
            print(f"    {known.why}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
