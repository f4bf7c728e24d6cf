"""`sluice`, which kills itself as `kill -9` does at its Nth ledger entry: `python crashing_cli.py before:7 apply …`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main(when: str, arguments: list[str]) -> None:
    """Run `sluice` with `arguments`; `when` is `before:N` or `after:N`, N counted from 1."""
    from reconciler.cli.main import main as sluice
    from reconciler.ports import Entry
    from reconciler.store.sql import SqlStore

    side, _, number = when.partition(":")
    append, written = SqlStore.append, 0

    async def counted(self: SqlStore, *args: Any, **named: Any) -> Entry:
        nonlocal written
        written += 1
        if side == "before" and written == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        entry = await append(self, *args, **named)
        if side == "after" and written == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return entry

    SqlStore.append = counted  # type: ignore[method-assign]
    sluice(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
