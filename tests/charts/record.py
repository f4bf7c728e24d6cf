"""Record what a chart is that no registry here has: `python -m tests.charts.record NAME FOLDER SOURCE`.

FOLDER is the chart, with the charts inside it unpacked and those that it lacks struck from its Chart.yaml; SOURCE says
where it was read, as REPOSITORY@COMMIT:PATH. Only facts are written: names of values, images, and which Pod Security
level each pod needs with our values.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from components.chart_values import ClusterFacts
from components.charts import CHARTS, Chart
from tests.charts import render, samples, source
from tests.support.kubernetes.control_plane import ControlPlane, control_plane

PINNED = Path(__file__).parent / "pinned"


def main(name: str, folder: Path, where: str) -> None:
    """Render the chart with every sample and write what was seen."""
    chart = next(chart for chart in CHARTS if chart.name == name)
    with control_plane(controllers=False) as plane:
        render.make_levels(plane)
        seen = [_seen(plane, folder, name, chart.namespace, i) for i in range(len(samples.SAMPLES))]
    declared = yaml.safe_load((folder / "Chart.yaml").read_text())
    facts = {
        "chart": name,
        # The source of some charts has no version of its own; its release fills in the module's.
        "version": chart.version if declared["version"] == source.UNRELEASED else str(declared["version"]),
        "application": str(declared.get("appVersion", "")),
        "source": where,
        "told": samples.digest(name),
        "images": sorted({image for images, _ in seen for image in images}),
        # What it names for its controllers too; the same with copies in place of all whose registry is copied from.
        "named": sorted({image for facts in samples.SAMPLES for image in _named(folder, chart, facts)}),
        "copied": sorted(_named(folder, chart, samples.COPIED)),
        "pods": {pod: level for _, pods in seen for pod, level in pods.items()},
        "values": _needed(name, source.paths(source.defaults(folder))),
    }
    (PINNED / f"{name}.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def _seen(
    plane: ControlPlane, folder: Path, name: str, namespace: str, sample: int
) -> tuple[list[str], dict[str, str]]:
    objects = render.rendered(folder, name, namespace, samples.values(name, samples.SAMPLES[sample]))
    return render.images(objects), {pod: render.level_of(plane, t) for pod, t in render.pods(objects, namespace)}


def _named(folder: Path, chart: Chart, facts: ClusterFacts) -> list[str]:
    return render.named(render.rendered(folder, chart.name, chart.namespace, samples.values(chart.name, facts)))


def _needed(name: str, known: dict[str, str]) -> dict[str, str]:
    """Return the paths on the way to ours and their neighbours, so that a typing mistake is seen; not all thousands."""
    ours = {path for facts in (*samples.SAMPLES, samples.COPIED) for path in source.paths(samples.values(name, facts))}
    parents = {path.rpartition(".")[0] for path in ours} | {""}
    steps = {".".join(path.split(".")[:i]) for path in ours for i in range(1, path.count(".") + 2)}
    return {path: kind for path, kind in known.items() if path in steps or path.rpartition(".")[0] in parents}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
