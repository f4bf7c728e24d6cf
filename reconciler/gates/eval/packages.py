"""Packages that only some scorers need, imported when such a scorer is used."""

from __future__ import annotations

import importlib
from typing import Any

from environments.errors import SluiceError


def needed(module: str) -> Any:
    """Return a module of the extra `eval`.

    Raises:
        SluiceError: `EVAL-025` its package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise SluiceError(
            "EVAL-025", where=package, what=f"the package {package} is not installed", do="pip install 'sluice[eval]'"
        ) from None
