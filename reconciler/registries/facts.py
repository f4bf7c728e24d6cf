"""What an artifact says of itself: its card, its configuration, the tags of its version. Read, never believed to run.

Imports `environments.redact` and PyYAML; the registries of files and of MLflow use it. Policies over lineage judge
what comes of it (`policies.facts.LINEAGE_KEYS`). Source of the card's keys: the Hub's "Model Cards" page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from environments.redact import redact

TAG = "sluice."
TAGS = ("license", "model_card", "validation", "reviewed_by", "signature", "datasets", "base", "rank")
"""What a version's tags may say: `sluice.license` and so on; they come before what files say."""
CARD, SIGNATURE = "README.md", "model.sig"
_READ_MAX = 1_000_000
_VALUE_MAX = 200
_WEIGHTS = {".safetensors": "safetensors", ".bin": "bin", ".pt": "pt", ".pth": "pt", ".gguf": "gguf", ".h5": "h5"}
_WEIGHTS |= {".ckpt": "ckpt", ".onnx": "onnx", ".pkl": "pickle"}

Facts = tuple[tuple[str, str], ...]


def facts_of(folder: Path, kind: str, tags: Mapping[str, str] | None = None) -> Facts:
    """Return what an artifact's folder and its tags say, sorted by name; what is not said is left out."""
    found = _of_files(folder, kind) if kind != "prompt" and folder.is_dir() else {}
    return _tidy(found | _of_tags(tags or {}))


def facts_of_tags(tags: Mapping[str, str]) -> Facts:
    """Return what the tags of a version say, for what has no folder."""
    return _tidy(_of_tags(tags))


def _tidy(found: Mapping[str, str]) -> Facts:
    one_line = ((key, redact(" ".join(str(value).split())[:_VALUE_MAX])) for key, value in found.items())
    return tuple(sorted((key, value) for key, value in one_line if value))


def _of_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: tags[TAG + key] for key in TAGS if tags.get(TAG + key)}


def _of_files(folder: Path, kind: str) -> dict[str, str]:
    names = [path.name for path in folder.iterdir() if path.is_file()]
    found = {"formats": ",".join(sorted(_formats(names)))}
    if CARD in names:
        found |= {"model_card": CARD} | _of_card(_front_matter(folder / CARD))
    if SIGNATURE in names:
        found["signature"] = SIGNATURE
    return found | (_of_adapter(folder) if kind == "adapter" else _of_model(folder))


def _formats(names: Iterable[str]) -> set[str]:
    return {_WEIGHTS[Path(name).suffix.lower()] for name in names if Path(name).suffix.lower() in _WEIGHTS}


def _of_card(card: Mapping[str, Any]) -> dict[str, str]:
    licence = card.get("license_name") if card.get("license") == "other" else card.get("license")
    datasets = card.get("datasets")
    listed = datasets if isinstance(datasets, list) else [datasets] if datasets else []
    named = {"license": licence, "datasets": ", ".join(str(each) for each in listed)}
    return {key: value for key, value in named.items() if isinstance(value, str) and value}


def _of_adapter(folder: Path) -> dict[str, str]:
    config = _json(folder / "adapter_config.json")
    rank, base = config.get("r"), config.get("base_model_name_or_path")
    found = {"rank": str(rank)} if isinstance(rank, int) and not isinstance(rank, bool) else {}
    return found | ({"base": base} if _is_name(base) else {})


def _of_model(folder: Path) -> dict[str, str]:
    name = _json(folder / "config.json").get("_name_or_path")
    return {"name": name} if _is_name(name) else {}


def _is_name(text: object) -> TypeGuard[str]:
    """Say whether a configuration names a model: trainers write the path of their own machine there, too."""
    return isinstance(text, str) and bool(text) and not text.startswith(("/", ".", "~")) and "\\" not in text


def _front_matter(path: Path) -> Mapping[str, Any]:
    """Return the YAML between two lines of three hyphens at the top of a card; empty when there is none to be read."""
    import yaml

    head, _, rest = _text(path).partition("---\n")
    block, mark, _ = rest.partition("\n---")
    if head.strip() or not mark:
        return {}
    try:
        # Without anchors a document is no larger in memory than its text, which is bounded.
        found = yaml.safe_load(block) if "&" not in block else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_READ_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
