"""Where Sluice's own modules are: at the top in its repository, below `sluice` in an installed wheel.

A user's repository may have modules called `policies` or `components`; the wheel leaves these names to them
(`.ci/namespaced_wheel.py`). Whatever names a module of ours as text asks here for its full name.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

_NAMESPACE = __name__.removesuffix("environments.here")


def module(name: str) -> str:
    """Return the full name of one of our modules, given as it is called in the repository."""
    return _NAMESPACE + name


def import_root() -> Path:
    """Return the folder that has to be on the import path for `module` to find anything."""
    return Path(__file__).resolve().parents[1 + _NAMESPACE.count(".")]


def thing(at: str) -> Any:
    """Return what `MODULE:NAME` of ours names; its module is imported now."""
    where, _, name = at.partition(":")
    return getattr(importlib.import_module(module(where)), name)


def shipped(path: str) -> Path:
    """Return a file that the repository and the wheel both carry beside the modules, such as an example's profile."""
    return Path(__file__).resolve().parents[1] / path
