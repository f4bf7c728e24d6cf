"""Who holds a lease: host, process id and start time, so that a dead owner on this machine is known at once."""

from __future__ import annotations

import os
import socket

import psutil


def owner_id() -> str:
    """Return this process's identity, as leases and the ledger name it."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(psutil.Process())}"


def is_dead(owner: str) -> bool:
    """Return whether `owner` was a process of this machine that is surely gone; False when that cannot be known."""
    host, _, rest = owner.rpartition(":")
    host, _, pid = host.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit() or not rest.isdigit():
        return False
    try:
        process = psutil.Process(int(pid))
        return _started(process) != rest or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _started(process: psutil.Process) -> str:
    return str(int(process.create_time() * 100))
