"""Write what many rollouts have to write at the same moment in one transaction: a mass rollback waits for one commit.

Each piece of work has a savepoint of its own: what fails takes nothing of the others with it. Whoever adds work learns
of its success after the commit, and not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.store.failures import translated

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")
WORK_MAX = 100
"""How much work one transaction takes: the head of the ledger is locked for as long as it lasts."""


@dataclass(frozen=True)
class _Work:
    doing: str
    lease: str
    call: Callable[[Connection], Any]
    done: asyncio.Future[Any]


@dataclass(frozen=True)
class _Failed:
    error: Exception


class Batch:
    """Collects work while a transaction is under way, and does it together in the next. `where` names the database."""

    def __init__(self, engine: Callable[[], Engine], where: str) -> None:
        self._engine = engine
        self._where = where
        self._waiting: list[_Work] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, doing: str, work: Callable[[Connection], T], *, lease: str = "") -> T:
        """Return what `work` returns once it is committed. `lease` is the lease whose row it locks, if it locks any.

        Raises:
            SluiceError: what `work` raised, or why the transaction could not be committed.
        """
        added = _Work(doing, lease, work, asyncio.get_running_loop().create_future())
        self._waiting.append(added)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        # A caller that is cancelled still waits for its own commit: nothing may be written behind its back later.
        try:
            result: T = await asyncio.shield(added.done)
        except asyncio.CancelledError:
            if added in self._waiting:
                self._waiting.remove(added)
            else:
                await asyncio.wait([added.done])
            raise
        return result

    async def _write_all(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[:WORK_MAX], self._waiting[WORK_MAX:]
            # Everybody locks leases in the order of their names, or two transactions would wait for each other.
            taken.sort(key=lambda work: work.lease)
            try:
                results = await asyncio.to_thread(self._write, taken)
            except BaseException as error:
                for work in taken:
                    if not work.done.done():
                        work.done.set_exception(error)
                        work.done.exception()  # whoever was cancelled does not ask
                if not isinstance(error, Exception):
                    raise
                continue
            for work, result in zip(taken, results, strict=True):
                if isinstance(result, _Failed):
                    work.done.set_exception(result.error)
                    work.done.exception()
                else:
                    work.done.set_result(result)

    def _write(self, taken: list[_Work]) -> list[Any]:
        if len(taken) == 1:
            with translated(self._where, taken[0].doing, writing=True), self._engine().begin() as connection:
                return [taken[0].call(connection)]
        doing = f"{taken[0].doing}, and {len(taken) - 1} more"
        with translated(self._where, doing, writing=True), self._engine().begin() as connection:
            return [self._one(connection, work) for work in taken]

    def _one(self, connection: Connection, work: _Work) -> Any:
        try:
            with translated(self._where, work.doing, writing=True), connection.begin_nested():
                return work.call(connection)
        except Exception as error:  # noqa: BLE001 - told to whoever added the work; the others' work is not touched
            return _Failed(error)
