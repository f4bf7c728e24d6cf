"""Ends everything of one environment on this machine and deletes its state. Imports this package's parts.

Called by `sluice down`. Works on half-written state: besides what the files say, it asks the system which processes
carry the environment's mark.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from reconciler.platforms.local.processes import Process, end, marked, supervising

_GRACE_S = 30.0


@dataclass(frozen=True)
class Down:
    """What was ended and deleted."""

    processes: int
    folders: tuple[str, ...]


async def down(home: Path, environment: str) -> Down:
    """End all servers, gateways and supervisors of an environment and delete its state; succeed if there are none.

    Raises:
        SluiceError: `PLAT-013` a process would not die; `PLAT-011` the state could not be deleted.
    """
    root = await asyncio.to_thread((home / environment).resolve)
    ended: set[Process] = set()
    # A supervisor between its start and its server's is found by its command line; a second look finds latecomers.
    for _ in range(5):
        supervisors, servers = supervising(root), marked(root)
        if not supervisors and not servers:
            break
        ended |= {*supervisors, *servers}
        await end(supervisors, grace_s=_GRACE_S + 2)
        await end(marked(root), grace_s=2.0)
    left = [*supervising(root), *marked(root)]
    if left:
        raise SluiceError(
            "PLAT-013",
            where=environment,
            what=f"process {left[0].pid} could not be ended",
            why="it belongs to another user or hangs in the kernel",
            do=f"end it by hand (kill -9 {left[0].pid}) and run `sluice down` again",
        )
    folders = tuple(sorted(p.name for p in root.iterdir() if p.is_dir())) if root.is_dir() else ()
    await asyncio.to_thread(_delete, root)
    return Down(len(ended), folders)


def _delete(root: Path) -> None:
    try:
        shutil.rmtree(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SluiceError(
            "PLAT-011",
            where=str(root),
            what="the environment's state could not be deleted",
            why=str(error),
            do="delete the folder by hand; all its processes have ended",
        ) from error
