"""Ports of loopback, reserved so that no two Sluice processes of this machine take the same one.

A reservation is a name in Linux's abstract socket namespace, bound for as long as a supervisor holds the socket: the
kernel lets go of it when that process ends, however it ends. There is no file that could be left behind, or be put
there by another user to keep us out, and the names are as private to a network namespace as the ports are.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from environments.errors import SluiceError

FIRST, LAST = 20000, 29999
"""Below the range from which Linux gives ports to outgoing connections (32768 upwards)."""


@dataclass(frozen=True)
class Reservation:
    """A port, and the open socket that makes it ours."""

    port: int
    lock: socket.socket

    def close(self) -> None:
        """Close our copy of the lock; the port is given back unless a supervisor inherited it."""
        self.lock.close()


def reserve(seed: str) -> Reservation:
    """Reserve a free port; the same `seed` is given the same port where that is possible.

    Raises:
        SluiceError: `PLAT-006` there is none left.
    """
    count = LAST - FIRST + 1
    offset = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") % count
    for step in range(count):
        found = try_reserve(FIRST + (offset + step) % count)
        if found is not None:
            return found
    raise SluiceError(
        "PLAT-006",
        what=f"no port between {FIRST} and {LAST} is free",
        why="each server needs one of its own",
        do="end what listens there; `sluice down ENV` ends an environment of ours",
    )


def reserve_row(seed: str, count: int) -> tuple[Reservation, ...]:
    """Reserve `count` free ports one after another; the same `seed` is given the same ones where that is possible.

    Raises:
        SluiceError: `PLAT-006` there is no such row left.
    """
    if count == 1:
        return (reserve(seed),)
    places = LAST - FIRST + 2 - count
    offset = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") % places
    for step in range(places):
        found = _try_row(FIRST + (offset + step) % places, count)
        if found:
            return found
    raise SluiceError(
        "PLAT-006",
        what=f"no {count} ports side by side between {FIRST} and {LAST} are free",
        why="each server of this runtime needs as many",
        do="end what listens there; `sluice down ENV` ends an environment of ours",
    )


def _try_row(first: int, count: int) -> tuple[Reservation, ...]:
    """Reserve a row of ports, or none of them."""
    found: list[Reservation] = []
    for port in range(first, first + count):
        reservation = try_reserve(port)
        if reservation is None:
            for each in found:
                each.close()
            return ()
        found.append(reservation)
    return tuple(found)


def reserve_port(port: int, where: str) -> Reservation:
    """Reserve one certain port.

    Raises:
        SluiceError: `PLAT-006` something else has it, named where the system tells.
    """
    found = try_reserve(port)
    if found is not None:
        return found
    raise SluiceError(
        "PLAT-006",
        where=where,
        what=f"port {port} of 127.0.0.1 is taken{holder(port)}",
        why="the region's gateway must listen there",
        do="end that program, or give the region another `gateway_port`",
    )


def try_reserve(port: int) -> Reservation | None:
    """Reserve a port, or return None when another Sluice process or another program has it."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0sluice/port/{port}")
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise _unlockable(port, error) from error
    if _free(port):
        return Reservation(port, lock)
    lock.close()
    return None


@contextlib.contextmanager
def handing_over(reservations: Iterable[Reservation]) -> Iterator[None]:
    """Close our copies of the locks after a supervisor has inherited them, or because it was not started."""
    try:
        yield
    finally:
        for reservation in reservations:
            reservation.close()


def holder(port: int) -> str:
    """Return ` by "NAME" (pid N)` for the program that listens on a port; empty where the system does not tell."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port and found.pid:
                return f' by "{psutil.Process(found.pid).name()}" (pid {found.pid})'
    return ""


def _unlockable(port: int, error: OSError) -> SluiceError:
    return SluiceError(
        "PLAT-011",
        where=f"127.0.0.1:{port}",
        what="a port could not be reserved",
        why=str(error),
        do="let this process bind abstract Unix sockets (a sandbox may forbid it)",
        retryable=True,
    )


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
