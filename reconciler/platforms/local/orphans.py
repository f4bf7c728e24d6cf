"""What runs of an environment although its state was deleted: nothing that reads the state can see or end it."""

from __future__ import annotations

from pathlib import Path

from reconciler.platforms.local.processes import supervising
from reconciler.platforms.local.supervisor import SPEC


def orphans(home: Path, environment: str) -> int:
    """Return how many supervisors of an environment run whose own record is gone: of servers and of gateways."""
    root = (home / environment).resolve()
    return sum(not _is_recorded(process.pid) for process in supervising(root))


def _is_recorded(pid: int) -> bool:
    """Return whether the file that a supervisor was started with is still there; True when it has just ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True
    return all(Path(word.decode(errors="surrogateescape")).exists() for word in words if word.endswith(SPEC.encode()))
