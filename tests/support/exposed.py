"""What the software beside us exposes, as Prometheus stores it: recorded samples under the labels of our monitors.

vLLM and Envoy were recorded from running servers. DCGM's exporter needs a GPU: its samples are written in the format of
its version 4.8.2 (`internal/pkg/rendermetrics`). Triton's are in the format of its page "Metrics", kube-state-metrics's
in that of its `docs/metrics/workload/pod-metrics.md`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components import controller
from components.endpoint_slots import pod_label, scraping
from environments.names import (
    CONTROLLER_TICK_METRIC,
    ENDPOINT_LABEL,
    LEDGER_METRIC,
    RELEASE_LABEL,
    ROLLOUT_AGE_METRIC,
    ROLLOUT_PAUSED_METRIC,
    SLOT_LABEL,
)
from tests.support.promtool import program

RECORDED = Path(__file__).parent / "recorded"
# The pod whose GPU DCGM's record names.
NAMESPACE, POD = "support-prod", "chat-a-7c9f8d5b6-x2x9k"
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_RISING = re.compile(r"(?:_total|_bucket|_count|_sum)$")


@dataclass(frozen=True)
class Sample:
    """One sample; `rising` ones grow with time, the others stay."""

    name: str
    labels: Mapping[str, str]
    value: float
    rising: bool = False


def recorded(name: str) -> Iterator[Sample]:
    """Yield the samples of a recorded page."""
    kinds: dict[str, str] = {}
    for line in (RECORDED / f"{name}.metrics").read_text().splitlines():
        if line.startswith("# TYPE "):
            _, _, metric, kind = line.split(" ")
            kinds[metric] = kind
        elif found := _LINE.match(line):
            metric, labels, value = found[1], dict(_LABEL.findall(found[2] or "")), float(found[3])
            rising = kinds.get(metric) == "counter" or bool(_RISING.search(metric))
            yield Sample(metric, labels, value, rising)


def monitored(environment: str, endpoint: str, slot: str, port: int) -> dict[str, str]:
    """Return the labels that an endpoint's PodMonitor gives to the samples of a slot's pod."""
    on_pod = {ENDPOINT_LABEL: endpoint, SLOT_LABEL: slot, RELEASE_LABEL: "chat-0123abcd"}
    known = {pod_label(label): value for label, value in on_pod.items()}
    rules = scraping(endpoint, environment, "eu-central-1", port)["podMetricsEndpoints"][0]["relabelings"]
    return {r["targetLabel"]: r["replacement"] if "replacement" in r else known[r["sourceLabels"][0]] for r in rules}


def slot_samples(runtime: str, environment: str, endpoint: str, slot: str) -> Iterator[Sample]:
    """Yield what a slot's pod exposes, and that it is up."""
    page, port = {"vllm": ("vllm-0.32.0", 8000), "triton": ("triton-26.07", 8002)}[runtime]
    labels = {**monitored(environment, endpoint, slot, port), "namespace": NAMESPACE, "pod": POD}
    yield Sample("up", labels, 1)
    for sample in recorded(page):
        yield Sample(sample.name, {**sample.labels, **labels}, sample.value, sample.rising)


def controller_samples(environment: str, endpoint: str) -> Iterator[Sample]:
    """Yield what a controller exposes of one rollout; its PodMonitor names the environment."""
    given = {r["targetLabel"]: r["replacement"] for r in controller.scraping(environment)["relabelings"]}
    labels = {"endpoint": endpoint, "region": "eu-central-1", **given}
    yield Sample(ROLLOUT_AGE_METRIC, labels, 60)
    yield Sample(ROLLOUT_PAUSED_METRIC, labels, 0)
    yield Sample(LEDGER_METRIC, given, 1)
    yield Sample(CONTROLLER_TICK_METRIC, given, 0, rising=True)


def cluster_samples() -> Iterator[Sample]:
    """Yield what kube-state-metrics exposes of the slot's pod."""
    pod = {"namespace": NAMESPACE, "pod": POD, "uid": "5c0f"}
    for phase in ("Pending", "Succeeded", "Failed", "Unknown", "Running"):
        yield Sample("kube_pod_status_phase", {**pod, "phase": phase}, float(phase == "Running"))
    held = {"container": "server", "node": "ip-10-0-32-7", "resource": "nvidia_com_gpu", "unit": "integer"}
    yield Sample("kube_pod_container_resource_requests", {**pod, **held}, 1)


def everything() -> list[Sample]:
    """Return what a cluster with two endpoints exposes, one on each runtime, with GPUs and a controller."""
    return [
        *slot_samples("vllm", "prod", "chat", "a"),
        *slot_samples("triton", "prod", "embed", "a"),
        *recorded("envoy-1.40.0"),
        *_of_route("embed"),
        *recorded("dcgm-4.8.2"),
        *_on_gpu("1", "embed-a-5d8b7f6c9-q4w8z"),
        *cluster_samples(),
        *controller_samples("prod", "chat"),
        *controller_samples("prod", "embed"),
    ]


def _of_route(endpoint: str) -> Iterator[Sample]:
    for sample in recorded("envoy-1.40.0"):
        labels = {key: value.replace("/chat/", f"/{endpoint}/") for key, value in sample.labels.items()}
        yield Sample(sample.name, labels, sample.value, sample.rising)


def _on_gpu(gpu: str, pod: str) -> Iterator[Sample]:
    for sample in recorded("dcgm-4.8.2"):
        yield Sample(sample.name, {**sample.labels, "gpu": gpu, "pod": pod}, sample.value, sample.rising)


def backfill(folder: Path, samples: Sequence[Sample], *, end_s: int, minutes: int) -> Path:
    """Write the samples into a new database of Prometheus, one each 30 s until a moment; return its folder."""
    text = folder / "samples.om"
    with text.open("w") as file:
        file.writelines(f"{line}\n" for line in _lines(samples, end_s, minutes))
    data = folder / "data"
    command = [str(program("promtool")), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    return data


def _lines(samples: Iterable[Sample], end_s: int, minutes: int) -> Iterator[str]:
    unique = {(s.name, tuple(sorted(s.labels.items()))): s for s in samples}
    for (name, labels), sample in sorted(unique.items()):
        text = ",".join(f'{key}="{value}"' for key, value in labels)
        for step in range(2 * minutes + 1):
            value = sample.value * (step + 1) if sample.rising else sample.value
            yield f"{name}{{{text}}} {value:g} {end_s - 30 * (2 * minutes - step)}"
    yield "# EOF"
