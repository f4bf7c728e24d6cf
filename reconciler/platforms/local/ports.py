"""Ports of loopback, reserved so that no two Sluice processes of this machine take the same one.

A reservation is a locked file that lives as long as a supervisor holds it: the kernel lets go of it when that process
ends, however it ends. Imports the standard library. Called by `slots` and `gateway`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError

FIRST, LAST = 20000, 29999
"""Below the range from which Linux and macOS give ports to outgoing connections (32768 and 49152 upwards)."""


@dataclass(frozen=True)
class Reservation:
    """A port, and the open lock file that makes it ours."""

    port: int
    lock: int
    path: Path

    def close(self) -> None:
        """Close our copy of the lock; the port is given back unless a supervisor inherited it."""
        os.close(self.lock)
        forget([str(self.path)])


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
    folder = _folder()
    path = folder / str(port)
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except PermissionError:
            return None  # another user's lock file, which the kernel keeps from us
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        if not _same_file(lock, path):
            os.close(lock)  # its owner removed the file between our open and our lock
            continue
        if _free(port):
            return Reservation(port, lock, path)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(lock)
        return None


@contextlib.contextmanager
def handing_over(reservations: Iterable[Reservation]) -> Iterator[None]:
    """Close our copies of the locks after a supervisor has inherited them, or because it was not started."""
    try:
        yield
    finally:
        for reservation in reservations:
            reservation.close()


def forget(paths: Iterable[str]) -> None:
    """Delete the lock files of supervisors that were killed; a file that somebody holds now stays."""
    for path in paths:
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(lock, Path(path)):
                    os.unlink(path)
            finally:
                os.close(lock)


def holder(port: int) -> str:
    """Return ` by "NAME" (pid N)` for the program that listens on a port; empty where the system does not tell."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port and found.pid:
                return f' by "{psutil.Process(found.pid).name()}" (pid {found.pid})'
    return ""


def _folder() -> Path:
    """Return the folder of the lock files, which all users of this machine share."""
    folder = Path(tempfile.gettempdir()) / "sluice-ports"
    try:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o1777)
    except PermissionError:
        return folder  # someone else was faster, and has made it for all
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def _unwritable(path: Path, error: OSError) -> SluiceError:
    return SluiceError(
        "PLAT-011",
        where=str(path),
        what="a port could not be reserved",
        why=f"its lock file cannot be made: {error}",
        do="make room there, or set TMPDIR to a folder that can be written, the same for every Sluice process",
        retryable=True,
    )


def _same_file(lock: int, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(lock)
    return (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True
