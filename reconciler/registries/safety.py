"""What may be served: safetensors only, nothing that runs code when it is loaded, nothing outside its folder.

Imports only the standard library and `environments.errors`; the registries of files and of MLflow use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from environments.errors import SluiceError

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
WEIGHTS = ".safetensors"
_CONFIG = {"model": "config.json", "adapter": "adapter_config.json"}
REPOSITORY = "repository"
_REPOSITORY_FILES = ("config.pbtxt", "model.onnx", "model.plan", "model.py", "model.xml")
_HEADER_MAX = 100_000_000
"""Longest header that a safetensors file may have, in bytes. Source: the format's own description."""


def refuse_pickles(ref: str, names: Iterable[str]) -> None:
    """Refuse a set of files that holds pickled weights.

    Raises:
        SluiceError: `REG-002`.
    """
    pickled = sorted(name for name in names if PurePosixPath(name).suffix.lower() in PICKLED)
    if pickled:
        more = f" and {len(pickled) - 3} more" if len(pickled) > 3 else ""
        raise SluiceError(
            "REG-002",
            where=ref,
            what=f"pickled weights are refused: {', '.join(pickled[:3])}{more}",
            why="loading a pickle runs whatever code is in it",
            do="save the weights as safetensors (`save_pretrained(…, safe_serialization=True)`) and remove these files",
        )


def check_names(ref: str, names: Iterable[str]) -> None:
    """Refuse names with which somebody else could make us write outside a folder.

    Raises:
        SluiceError: `REG-002`.
    """
    for name in names:
        parts = name.split("/")
        if "\\" in name or "\x00" in name or any(part in ("", ".", "..") for part in parts):
            raise SluiceError(
                "REG-002", where=ref, what=f"it lists a file called {name!r}", do="look at what the reference leads to"
            )


def require_servable(ref: str, kind: str, names: Iterable[str]) -> None:
    """Refuse a model or an adapter that no runtime could load: it needs its configuration and safetensors weights.

    Raises:
        SluiceError: `REG-002`.
    """
    if kind == REPOSITORY:
        _require_repository(ref, list(names))
        return
    config = _CONFIG.get(kind)
    if config is None:
        return
    top = [name for name in names if "/" not in name]
    lacking = [] if config in top else [config]
    lacking += [] if any(name.endswith(WEIGHTS) for name in top) else [f"a {WEIGHTS} file"]
    if lacking:
        raise SluiceError(
            "REG-002",
            where=ref,
            what=f"this is no {kind} that can be served: {' and '.join(lacking)} missing",
            why=f"found there: {', '.join(sorted(top)[:8]) or 'nothing'}",
            do=f"point the reference at the folder that `save_pretrained` wrote, with {config} in it",
        )


def _require_repository(ref: str, names: list[str]) -> None:
    """Refuse files in which Triton could find nothing to serve; what exactly is wrong, its runtime says."""
    of_language_model = "config.json" in names and any(name.endswith(WEIGHTS) for name in names)
    if of_language_model or any(PurePosixPath(name).name in _REPOSITORY_FILES for name in names):
        return
    raise SluiceError(
        "REG-002",
        where=ref,
        what="this is no model that Triton could serve: there is no config.pbtxt and no model file of a known name",
        why=f"found there: {', '.join(sorted(names)[:8]) or 'nothing'}",
        do="point the reference at a model repository; docs/how-to/triton.md shows its forms",
    )


def check_weights(ref: str, path: Path) -> None:
    """Refuse a file that is called safetensors and is something else.

    Raises:
        SluiceError: `REG-002`.
    """
    if header_of(path) is None:
        raise SluiceError(
            "REG-002",
            where=ref,
            what=f"{path.name} is not a safetensors file",
            why="its header cannot be read: it was cut short, or another format was renamed",
            do="download or save it again",
        )


def header_of(path: Path) -> dict[str, Any] | None:
    """Return the header of a safetensors file, which names its tensors; None for what is none. Reads nothing more."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= min(size - 8, _HEADER_MAX) else b""
    try:
        header = json.loads(text)
    except ValueError:
        return None
    return header if isinstance(header, dict) else None
