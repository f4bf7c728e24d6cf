"""Run a command whose whole process group dies when the parent of this process does, even by `kill -9`.

`python leash.py COMMAND…`. For servers that start children of their own: the kernel's parent-death signal reaches this
process alone, and it passes it on to the group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Run the command until it ends or until a signal, or the parent's death, ends the group."""
    parent = os.getppid()
    child: subprocess.Popen[bytes] | None = None

    def end(number: int, frame: FrameType | None) -> None:
        if child is not None:
            os.killpg(child.pid, signal.SIGKILL)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    _tie_to_parent()
    if os.getppid() != parent:
        return 1
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=_tie_to_parent)
    return child.wait()


def _tie_to_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
