"""Ports: never given twice, given back when their holder dies, refused when another program has them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import port_lease
from tests.support.lifeline import dies_with_parent


def hold(gate: Barrier, found: SimpleQueue[int], end: Event) -> None:
    """Reserve the port that all want, once all are there, and hold it until told to end."""
    dies_with_parent()()
    gate.wait(60)
    held = port_lease.reserve("race")
    found.put(held.port)
    end.wait(60)
    held.close()


def test_twenty_processes_at_once_get_twenty_ports() -> None:
    context = multiprocessing.get_context("fork")
    gate, found, end = context.Barrier(20), context.SimpleQueue(), context.Event()
    racers = [context.Process(target=hold, args=(gate, found, end), daemon=True) for _ in range(20)]
    for racer in racers:
        racer.start()
    taken = {found.get() for _ in racers}
    end.set()
    for racer in racers:
        racer.join(60)
    assert len(taken) == 20
    assert all(port_lease.FIRST <= port <= port_lease.LAST for port in taken)
    assert [racer.exitcode for racer in racers] == [0] * 20


def test_a_reserved_port_is_free_again_after_it_was_closed() -> None:
    found = port_lease.reserve("one")
    assert port_lease.try_reserve(found.port) is None
    found.close()
    again = port_lease.reserve("one")
    assert again.port == found.port
    again.close()


def test_a_port_of_another_program_is_passed_over_and_named() -> None:
    found = port_lease.reserve("two")
    found.close()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", found.port))
        other.listen(1)
        second = port_lease.reserve("two")
        assert second.port != found.port
        second.close()
        with pytest.raises(SluiceError) as taken:
            port_lease.reserve_port(found.port, "test/local")
    assert taken.value.code == "PLAT-006"
    assert f"port {found.port}" in taken.value.problem.what
    assert f"(pid {os.getpid()})" in taken.value.problem.what


def test_a_reservation_that_was_handed_over_stays_as_long_as_its_heir() -> None:
    found = port_lease.reserve("six")
    heir = found.lock.dup()
    with port_lease.handing_over([found]):
        pass
    assert port_lease.try_reserve(found.port) is None
    heir.close()
    again = port_lease.try_reserve(found.port)
    assert again is not None
    again.close()


def test_a_port_of_a_process_that_died_is_free_again() -> None:
    context = multiprocessing.get_context("fork")
    gate, found, end = context.Barrier(1), context.SimpleQueue(), context.Event()
    holder = context.Process(target=hold, args=(gate, found, end), daemon=True)
    holder.start()
    port = found.get()
    assert port_lease.try_reserve(port) is None
    holder.kill()
    holder.join(60)
    again = port_lease.try_reserve(port)
    assert again is not None
    again.close()


def test_nobodys_files_can_keep_us_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder for locks in /tmp could that another user had made first."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "sluice-ports").write_text("in the way")
    held = port_lease.reserve("seven")
    assert held.port > 0
    assert (tmp_path / "sluice-ports").read_text() == "in the way"
    held.close()


def test_a_namespace_that_cannot_be_used_is_an_error_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError("not in this sandbox")

    monkeypatch.setattr("socket.socket", Forbidden)
    with pytest.raises(SluiceError, match="PLAT-011"):
        port_lease.reserve("eight")


def test_no_port_left_is_an_error_with_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    held = port_lease.reserve("five")
    monkeypatch.setattr(port_lease, "FIRST", held.port)
    monkeypatch.setattr(port_lease, "LAST", held.port)
    with pytest.raises(SluiceError, match="PLAT-006"):
        port_lease.reserve("five")
    held.close()


def test_a_row_of_ports_is_side_by_side_and_passes_over_what_is_taken() -> None:
    first = port_lease.reserve_row("row", 3)
    ports = [each.port for each in first]
    assert ports == list(range(ports[0], ports[0] + 3))
    first[0].close()
    first[2].close()
    second = port_lease.reserve_row("row", 3)
    assert not {each.port for each in second} & set(ports[:2])
    for each in (first[1], *second):
        each.close()
    again = port_lease.reserve_row("row", 3)
    assert [each.port for each in again] == ports, "what was tried in vain is let go of"
    for each in again:
        each.close()


def test_a_row_of_one_is_the_port_that_it_always_was() -> None:
    one = port_lease.reserve("single")
    one.close()
    (row,) = port_lease.reserve_row("single", 1)
    assert row.port == one.port
    row.close()
