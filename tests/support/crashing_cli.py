"""`sluice`, which kills itself as `kill -9` does at its Nth write to the ledger: `crashing_cli.py before:7 apply …`.

A write is one transaction: an entry by itself, or a change of the rollout together with the entries that tell of it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def main(when: str, arguments: list[str]) -> None:
    """Run `sluice` with `arguments`; `when` is `before:N` or `after:N`, N counted from 1."""
    from reconciler.cli.main import main as sluice
    from reconciler.store.sql import SqlStore

    side, _, number = when.partition(":")
    written = 0

    def counted(found: Any, *, always: bool) -> Any:
        async def write(self: SqlStore, *args: Any, **named: Any) -> Any:
            nonlocal written
            tells = always or bool(named.get("entries"))
            written += tells
            due = tells and written == int(number)
            if due and side == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = await found(self, *args, **named)
            if due and side == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return write

    for name in ("append", "save_rollout", "create_rollout"):
        setattr(SqlStore, name, counted(getattr(SqlStore, name), always=name == "append"))
    sluice(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
