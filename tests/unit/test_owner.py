"""Who owns a lease: two tasks are two owners, and nobody is taken for dead who may live elsewhere."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys

import pytest

from reconciler.compose import steady_clock
from reconciler.engine.owner import described, is_dead, operator_name, owner_id


def test_two_owners_of_one_process_are_two() -> None:
    assert owner_id() != owner_id()
    assert not is_dead(owner_id())


def test_a_process_that_ended_is_dead() -> None:
    code = "from reconciler.engine.owner import owner_id; print(owner_id())"
    owner = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_dead(owner)


def test_the_same_process_id_in_another_container_or_boot_is_somebody_else() -> None:
    who, pid, started, place, task = owner_id().split("/")
    assert not is_dead("/".join([who, "999999999", started, "another-boot", task]))
    assert is_dead("/".join([who, "999999999", started, place, task]))
    assert is_dead("/".join([who, pid, str(int(started) - 1), place, task])), "the number was given to another process"


def test_an_owner_that_cannot_be_read_is_not_taken_for_dead() -> None:
    assert not is_dead("vm:1:1")
    assert not is_dead("")


def test_a_user_without_a_name_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 30: under an arbitrary user id in a container there is no name, and a rollback works all the same."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert operator_name() == f"uid-{os.getuid()}"
    assert described(owner_id()).startswith(f"uid-{os.getuid()} on ")


def test_setting_the_clock_moves_no_steps_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bake is no shorter because somebody set the machine's clock forward in the middle of it."""
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    clock = steady_clock()
    monkeypatch.setattr("time.time", lambda: 2_000_000.0)
    assert clock() - 1_000_000.0 < 1000
