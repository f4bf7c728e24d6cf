"""Start Python with some distributions and what they need, as an image that installs nothing else would.

Put on `PYTHONPATH` as `sitecustomize`; `SLUICE_ONLY` names a file of requirements.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

_NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([\w,]+)\])?")
# Every environment has them.
_ALWAYS = {"pip", "setuptools", "wheel"}


def allowed(requirements: Path) -> set[str]:
    """Return the distributions that a file of requirements brings, by their normal names, what they need included."""
    found: set[str] = set(_ALWAYS)
    todo = [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
    while todo:
        match = _NAME.match(todo.pop())
        if match is None:
            continue
        name, extras = normal(match[1]), set(filter(None, (match[2] or "").split(",")))
        if name not in found:
            found.add(name)
            todo += _needs(name, extras)
    return found


def _needs(name: str, extras: set[str]) -> Iterator[str]:
    try:
        needed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in needed:
        text, _, marker = line.partition(";")
        if "extra" not in marker or any(f'"{extra}"' in marker or f"'{extra}'" in marker for extra in extras):
            yield text.strip()


def normal(name: str) -> str:
    """Return a distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class OnlyThese(MetaPathFinder):
    """Refuses modules of other distributions as if they were not installed."""

    def __init__(self, names: set[str]) -> None:
        owners = importlib.metadata.packages_distributions()
        self._refused = {top for top, by in owners.items() if not {normal(name) for name in by} & names}

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Refuse, or leave the search to the others."""
        if fullname.partition(".")[0] in self._refused:
            raise ModuleNotFoundError(f"No module named {fullname!r} (not in the image)", name=fullname)


if os.environ.get("SLUICE_ONLY"):
    sys.meta_path.insert(0, OnlyThese(allowed(Path(os.environ["SLUICE_ONLY"]))))
