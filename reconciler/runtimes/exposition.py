"""Reads the Prometheus text format. Pure; used by runtimes, whose servers describe themselves in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from reconciler.ports import Scraped

Sample = Scraped

_NUMBER_ETC = r"[ \t]+([^ \t]+)(?:[ \t]+-?[0-9.eE+-]+)?(?:[ \t]+# \{.*)?"
_LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?' + _NUMBER_ETC)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,\s*|$)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse_exposition(text: str) -> tuple[Sample, ...]:
    """Return all samples in order; comments, exemplars and timestamps are dropped.

    Raises:
        ValueError: a line is not of the format, so that half an answer is never taken for a whole one.
    """
    return tuple(_samples(text))


def total(samples: Iterable[Sample], name: str) -> float | None:
    """Return the sum over all label sets of `name`, None when there is no such sample."""
    values = [s.value for s in samples if s.name == name]
    return sum(values) if values else None


def cumulative_buckets(samples: Iterable[Sample], name: str) -> dict[str, float]:
    """Return `le` → cumulative count of the histogram `name`, label sets summed, in ascending order of `le`.

    Empty when there is no such histogram.
    """
    counts: dict[str, float] = {}
    for sample in samples:
        if sample.name == f"{name}_bucket" and "le" in sample.labels:
            bound = sample.labels["le"]
            counts[bound] = counts.get(bound, 0.0) + sample.value
    return dict(sorted(counts.items(), key=lambda item: float(item[0])))


def _samples(text: str) -> Iterator[Sample]:
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip(" \t\r")
        if content and not content.startswith("#"):
            yield _sample(content, number)


def _sample(line: str, number: int) -> Sample:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number} is not a sample: {line[:80]!r}")
    name, labels, value = match.groups()
    try:
        return Sample(name, _labels(labels or ""), float(value))
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None:
            raise ValueError(f"not a label: {text[position:][:40]!r}")
        name, value = match.groups()
        labels[name] = re.sub(r"\\.", lambda escape: _ESCAPES.get(escape.group(), escape.group()), value)
        position = match.end()
    return labels
