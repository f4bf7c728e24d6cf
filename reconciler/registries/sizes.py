"""Reads what a model's files say of its size: config.json and the headers of safetensors, never the weights themselves.

Imports the core and its sibling `safety`; the registries of files and of MLflow use it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reconciler.core.model.model_facts import ModelFacts, facts_of
from reconciler.registries.safety import WEIGHTS, header_of

_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"
_TEXT_MAX = 50_000_000
_KINDS = ("model",)


def model_facts(folder: Path, kind: str) -> ModelFacts | None:
    """Return the facts of a model's folder; None for what is no model, or says nothing that can be read.

    It blocks, and reads a few kilobytes of each file however large it is. What it cannot read is left out: a digest
    does not depend on it, and whoever needs it says that it is missing.
    """
    if kind not in _KINDS or not folder.is_dir():
        return None
    config = _json(folder / _CONFIG)
    return facts_of(config, _weight_bytes(folder)) if isinstance(config, dict) else None


def _weight_bytes(folder: Path) -> dict[str, int]:
    """Return the bytes of all tensors by type; nothing when one header cannot be read, for a part is no size."""
    found: dict[str, int] = defaultdict(int)
    for file in _weight_files(folder):
        try:
            for kind, size in _sizes(header_of(file) or {"unreadable": None}):
                found[kind] += size
        except (OSError, KeyError, TypeError, ValueError):
            return {}
    return dict(found)


def _sizes(header: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            yield str(tensor["dtype"]), int(end) - int(begin)


def _weight_files(folder: Path) -> Iterator[Path]:
    """Yield the files that an engine loads: those of the index where there is one, for copies may lie beside them."""
    index = _json(folder / _INDEX)
    mapped = index.get("weight_map") if isinstance(index, dict) else None
    names = set(mapped.values()) if isinstance(mapped, dict) else {p.name for p in folder.glob(f"*{WEIGHTS}")}
    for name in sorted(str(each) for each in names):
        if "/" not in name and name.endswith(WEIGHTS):
            yield folder / name


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8")) if path.stat().st_size <= _TEXT_MAX else None
    except (OSError, ValueError):
        return None
