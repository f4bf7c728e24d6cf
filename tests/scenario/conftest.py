"""Scenarios run in virtual time."""

from __future__ import annotations

import pytest

from tests.support.fakes.virtual_time import VirtualTimePolicy


@pytest.fixture(scope="session")
def event_loop_policy() -> VirtualTimePolicy:
    """Return the policy whose clock jumps."""
    return VirtualTimePolicy()
