"""The double's `/metrics`: names, labels and buckets of vLLM 0.32. Pure; a test compares it with a recording."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_ITL = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_LATENCY = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0)
BUCKETS: Mapping[str, Sequence[float]] = {
    "time_to_first_token": (*_TTFT, 160.0, 640.0, 2560.0),
    "inter_token_latency": _ITL,
    "request_latency": (*_LATENCY, 960.0, 1920.0, 7680.0),
    "request_tokens": (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0),
}
"""Upper bounds by family, in seconds or tokens; `--custom-histogram-buckets` replaces those of a family of latencies.

Source: vLLM 0.32's defaults; token bounds end at its `--max-model-len`, here 2048.
"""

HISTOGRAMS: Mapping[str, str] = {
    "vllm:time_to_first_token_seconds": "time_to_first_token",
    "vllm:inter_token_latency_seconds": "inter_token_latency",
    "vllm:request_time_per_output_token_seconds": "inter_token_latency",
    "vllm:e2e_request_latency_seconds": "request_latency",
    "vllm:request_queue_time_seconds": "request_latency",
    "vllm:request_prompt_tokens": "request_tokens",
    "vllm:request_generation_tokens": "request_tokens",
}
"""Histogram → the family that gives its buckets."""

_REASONS = ("stop", "length", "abort", "error", "repetition")


@dataclass
class Histogram:
    """Counts observations by bucket; `counts` has one place more than `bounds`, for what is above all of them."""

    bounds: Sequence[float]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterator[str]:
        """Yield the exposition lines, buckets cumulative."""
        seen = 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            seen += count
            yield _sample(f"{name}_bucket", {**labels, "le": bound}, seen)
        yield _sample(f"{name}_count", labels, seen)
        yield _sample(f"{name}_sum", labels, self.total)


@dataclass
class Metrics:
    """Everything the double counts. `started_at` is in epoch seconds."""

    served: str
    started_at: float
    max_num_seqs: int
    buckets: Mapping[str, Sequence[float]] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(init=False)
    finished: Counter[str] = field(default_factory=Counter)
    http: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    prompt_tokens: int = 0
    generation_tokens: int = 0
    running: int = 0
    waiting: int = 0

    def __post_init__(self) -> None:
        bounds = {**BUCKETS, **self.buckets}
        self.histograms = {name: Histogram(bounds[family]) for name, family in HISTOGRAMS.items()}

    def observe(self, name: str, seconds: float) -> None:
        """Count one duration in the histogram `name` (without `vllm:` and `_seconds`)."""
        self.histograms[f"vllm:{name}_seconds"].observe(seconds)

    def observe_tokens(self, *, prompt: int, generation: int) -> None:
        """Count one finished answer's tokens."""
        self.prompt_tokens += prompt
        self.generation_tokens += generation
        self.histograms["vllm:request_prompt_tokens"].observe(prompt)
        self.histograms["vllm:request_generation_tokens"].observe(generation)

    def render(self) -> str:
        """Return the text that `/metrics` answers."""
        return "\n".join((*self._process(), *self._state(), *self._counters(), *self._timings(), *self._http(), ""))

    def _labels(self, **more: str) -> dict[str, str]:
        return {"engine": "0", "model_name": self.served, **more}

    def _process(self) -> Iterator[str]:
        yield from _family("process_start_time_seconds", "gauge")
        yield _sample("process_start_time_seconds", {}, self.started_at)

    def _state(self) -> Iterator[str]:
        gauges = {
            "vllm:num_requests_running": float(self.running),
            "vllm:num_requests_waiting": float(self.waiting),
            "vllm:kv_cache_usage_perc": min(1.0, self.running / self.max_num_seqs),
        }
        for name, value in gauges.items():
            yield from _family(name, "gauge")
            yield _sample(name, self._labels(), value)

    def _counters(self) -> Iterator[str]:
        tokens = {"vllm:prompt_tokens": self.prompt_tokens, "vllm:generation_tokens": self.generation_tokens}
        for name, value in tokens.items():
            yield from _family(f"{name}_total", "counter")
            yield _sample(f"{name}_total", self._labels(), value)
            yield from _created(name, self._labels(), self.started_at)
        yield from _family("vllm:request_success_total", "counter")
        for reason in _REASONS:
            yield _sample("vllm:request_success_total", self._labels(finished_reason=reason), self.finished[reason])
        for reason in _REASONS:
            yield from _created("vllm:request_success", self._labels(finished_reason=reason), self.started_at)

    def _timings(self) -> Iterator[str]:
        for name, histogram in self.histograms.items():
            yield from _family(name, "histogram")
            yield from histogram.lines(name, self._labels())
            yield from _created(name, self._labels(), self.started_at)

    def _http(self) -> Iterator[str]:
        yield from _family("http_requests_total", "counter")
        for (handler, method, status), count in sorted(self.http.items()):
            yield _sample("http_requests_total", {"handler": handler, "method": method, "status": status}, count)


def _family(name: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} As in vLLM.", f"# TYPE {name} {kind}"


def _created(name: str, labels: Mapping[str, str], at: float) -> Iterator[str]:
    yield from _family(f"{name}_created", "gauge")
    yield _sample(f"{name}_created", labels, at)


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in sorted(labels.items()))
    return f"{name}{{{inside}}} {float(value)!r}" if inside else f"{name} {float(value)!r}"
