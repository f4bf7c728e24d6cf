"""Ends everything of one environment on this machine and deletes its state.

Works on half-written state: besides what the files say, it asks the system which processes carry the environment's
mark. It holds the regions' locks, so that a writer finds either what was there or nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from reconciler.platforms.local.processes import Process, end, marked, supervising
from reconciler.platforms.local.state import LOCK, locked

_GRACE_S = 30.0
_LOCK_WAIT_S = 30.0


@dataclass(frozen=True)
class Down:
    """What was ended and deleted."""

    processes: int
    folders: tuple[str, ...]


async def down(home: Path, environment: str) -> Down:
    """End all servers, gateways and supervisors of an environment and delete its state; succeed if there are none.

    Raises:
        SluiceError: `PLAT-012` somebody changes a region and does not come to an end; `PLAT-013` a process would not
            die; `PLAT-011` the state could not be deleted.
    """
    root = await asyncio.to_thread((home / environment).resolve)
    regions = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    async with AsyncExitStack() as held:
        for region in regions:
            await held.enter_async_context(locked(region / LOCK, wait_s=_LOCK_WAIT_S, where=environment))
        ended = await _end_all(root)
        left = [*supervising(root), *marked(root)]
        if left:
            raise SluiceError(
                "PLAT-013",
                where=environment,
                what=f"process {left[0].pid} could not be ended",
                why="it belongs to another user or hangs in the kernel",
                do=f"end it by hand (kill -9 {left[0].pid}) and run `sluice down` again",
            )
        await asyncio.to_thread(_delete, root)
    return Down(ended, tuple(region.name for region in regions))


async def _end_all(root: Path) -> int:
    """End every process of the environment and return how many there were.

    A supervisor between its start and its server's is found by its command line; a second look finds latecomers.
    """
    ended: set[Process] = set()
    for _ in range(5):
        supervisors, servers = supervising(root), marked(root)
        if not supervisors and not servers:
            break
        ended |= {*supervisors, *servers}
        await end(supervisors, grace_s=_GRACE_S + 2)
        await end(marked(root), grace_s=2.0)
    return len(ended)


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
