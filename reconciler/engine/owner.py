"""Who holds a lease: a task of a process of a machine, so that a dead owner on this machine is known at once.

An owner's name is `USER@HOST/PID/START/PLACE/TASK`. PLACE is the machine's present boot and the process namespace: two
containers that share a hostname, or two boots of a machine, never take each other's processes for dead.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from pathlib import Path

import psutil


def operator_name() -> str:
    """Return who works with this command, for the ledger: also where a container runs under a user without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError since Python 3.13
        return f"uid-{os.getuid()}"


def owner_id() -> str:
    """Return a name for one owner in this process: each call makes another, since two tasks are two owners."""
    started = _started(psutil.Process())
    return f"{operator_name()}@{socket.gethostname()}/{os.getpid()}/{started}/{_place()}/{secrets.token_hex(3)}"


def described(owner: str) -> str:
    """Return an owner as people read it, such as `ann on build-7`."""
    who, _, host = owner.split("/")[0].partition("@")
    return f"{who} on {host}" if host else owner


def is_dead(owner: str) -> bool:
    """Return whether `owner` was a process of this machine that is surely gone; False when that cannot be known."""
    parts = owner.split("/")
    if len(parts) != 5 or not parts[1].isdigit() or parts[3] != _place():
        return False
    try:
        process = psutil.Process(int(parts[1]))
        return _started(process) != parts[2] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _started(process: psutil.Process) -> str:
    """Return when a process started, in clock ticks since boot: a step of the wall clock does not change it."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except FileNotFoundError:
        raise psutil.NoSuchProcess(process.pid) from None
    except OSError:
        return str(int(process.create_time() * 100))
    return stat.rpartition(")")[2].split()[19]


def _place() -> str:
    """Return the boot and the process namespace, as far as the machine tells; empty parts match only empty ones."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:12]
    except OSError:
        boot = ""
    try:
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        namespace = ""
    return f"{boot or socket.gethostname()}-{namespace}"
