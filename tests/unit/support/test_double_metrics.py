"""The double's metrics have the names, kinds, labels and buckets of a recorded vLLM: a double that drifts lies."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from reconciler.runtimes.exposition import parse_exposition
from tests.support.servers.vllm.metrics import BUCKETS, Histogram, Metrics

RECORDED = (Path(__file__).parents[2] / "support/recorded/vllm-0.32.0.metrics").read_text()


def busy() -> Metrics:
    metrics = Metrics("chat", 1795257140.16, max_num_seqs=16)
    metrics.http["/v1/completions", "POST", "2xx"] += 1
    return metrics


def shapes(text: str) -> dict[str, tuple[set[tuple[str, ...]], set[str]]]:
    """Return sample name → its sets of label names, and its values of `le` and `finished_reason`."""
    found: dict[str, tuple[set[tuple[str, ...]], set[str]]] = defaultdict(lambda: (set(), set()))
    for sample in parse_exposition(text):
        names, values = found[sample.name]
        names.add(tuple(sorted(sample.labels)))
        values.update(sample.labels[key] for key in ("le", "finished_reason") if key in sample.labels)
    return dict(found)


def kinds(text: str) -> set[str]:
    return {line for line in text.splitlines() if line.startswith("# TYPE ")}


def test_same_shapes_as_the_recorded_server() -> None:
    recorded = {k: v for k, v in shapes(RECORDED).items() if not k.startswith("http_requests_created")}
    assert shapes(busy().render()) == recorded


def test_same_kinds_as_the_recorded_server() -> None:
    assert kinds(busy().render()) <= kinds(RECORDED)


def test_a_custom_family_replaces_the_bounds() -> None:
    metrics = Metrics("chat", 0.0, 16, {"inter_token_latency": [0.001, 0.002]})
    shape = shapes(metrics.render())
    assert shape["vllm:inter_token_latency_seconds_bucket"][1] == {"0.001", "0.002", "+Inf"}
    assert len(shape["vllm:time_to_first_token_seconds_bucket"][1]) == len(BUCKETS["time_to_first_token"]) + 1


def test_a_value_on_a_bound_is_inside_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.counts == [2, 1, 1]
    assert list(histogram.lines("h", {}))[2] == 'h_bucket{le="+Inf"} 4.0'
