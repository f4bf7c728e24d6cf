"""How long `pulumi preview` of prod takes, and what each region adds: `python -m tests.bench.preview [RUNS]`.

Imports the engine's rig. Prints a table and writes `.cache/bench/preview.json`; people and `make bench` run it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.builds.catalog import ROOT
from tests.infrastructure.stack_rig import FOUNDATION, Rig, rig

TARGET_S = 20.0
RUNS = 3


def main() -> None:
    """Preview prod with one, two and three regions, `RUNS` times each, and report medians in seconds."""
    import yaml

    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as running:
        file = running.environments / "prod.yaml"
        shipped = file.read_text()
        found = {}
        for regions, text in fewer_regions(shipped, list(yaml.safe_load(shipped)["regions"])):
            file.write_text(text)
            found[regions] = timed(running, runs)
            print(f"{regions} regions: median {found[regions]['median_s']:.1f} s of {found[regions]['seconds']}")
    counts = sorted(found)
    slope = (found[counts[-1]]["median_s"] - found[counts[0]]["median_s"]) / (counts[-1] - counts[0])
    print(f"each region adds {slope:.1f} s; target for {counts[-1]}: at most {TARGET_S:.0f} s")
    target = ROOT / ".cache" / "bench" / "preview.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        json.dumps({"regions": found, "added_s_per_region": slope, "target_s": TARGET_S}, indent=2) + "\n"
    )


def timed(running: Rig, runs: int) -> dict[str, Any]:
    """Return the seconds of some previews after one that warms the caches, and how many resources they show."""
    outcomes = [running.harness.preview(FOUNDATION, "prod").must_succeed() for _ in range(runs + 1)][1:]
    seconds = [round(outcome.seconds, 2) for outcome in outcomes]
    return {"median_s": statistics.median(seconds), "seconds": seconds}


def fewer_regions(shipped: str, regions: list[str]) -> Iterator[tuple[int, str]]:
    """Yield prod's file with its first, its first two and all of its regions; endpoints and waves follow."""
    import yaml

    for count in range(1, len(regions) + 1):
        kept = regions[:count]
        data: dict[str, Any] = yaml.load(shipped, _text_dates())
        data["regions"] = {name: data["regions"][name] for name in kept}
        data["waves"] = [[name] for name in kept]
        for name, endpoint in list(data["endpoints"].items()):
            if "regions" in endpoint:
                endpoint["regions"] = [r for r in endpoint["regions"] if r in kept]
                if not endpoint["regions"]:
                    del data["endpoints"][name]
        data["infrastructure"]["gpu_quota"] = {
            r: n for r, n in data["infrastructure"]["gpu_quota"].items() if r in kept
        }
        yield count, yaml.safe_dump(data, sort_keys=False)


def _text_dates() -> type[Any]:
    """Return a loader that leaves points in time as the text that stands in the file."""
    import yaml

    class TextDates(yaml.SafeLoader):
        """Safe, and without YAML's dates."""

    TextDates.yaml_implicit_resolvers = {
        first: [resolver for resolver in found if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for first, found in TextDates.yaml_implicit_resolvers.items()
    }
    return TextDates


if __name__ == "__main__":
    main()
