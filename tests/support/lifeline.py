"""What every test of a real engine needs: children that die with the test, and skips that are never silent."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def dies_with_parent(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` that asks Linux to send the child this signal when its parent dies.

    The C library is looked up here, because the child may run as a user who cannot read this Python.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def ask() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(number))

    return ask


def missing(what: str, do: str) -> NoReturn:
    """Skip the test and say what to do; where CI is set, fail instead, because there nothing may be left out."""
    import pytest  # here, because the processes that only want `dies_with_parent` start many times a test

    message = f"{what}; {do}"
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(message)
    pytest.skip(message)
