"""Facts about charts that no registry here has, recorded by `tests.charts.record`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "pinned"
NAMES = tuple(sorted(file.stem for file in FOLDER.glob("*.json")))


def facts(name: str) -> dict[str, Any]:
    """Return what was recorded of a chart."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found
