"""Drive rollouts from a command: live progress, and an orderly way out on Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.engine.apply import Applier
    from reconciler.output.progress import Progress

T = TypeVar("T")
LEAVE_S = 20.0
"""How long an interrupted command may take to give traffic back to its champions."""


@dataclass(frozen=True)
class Drive:
    """An applier with somebody who watches."""

    applier: Applier
    progress: Progress
    environment: str

    async def finish(self, work: Coroutine[object, object, T]) -> T:
        """Return what `work` returns. Interrupted once, traffic goes back to the champions first; twice, it ends now.

        Raises:
            asyncio.CancelledError: it was interrupted; what was begun can be taken up again.
        """
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current:
                current.uncancel()
            self.applier.leave()
            self.progress.message("Interrupted: traffic goes back to the champions. Again to end at once.")
            await asyncio.wait([task], timeout=LEAVE_S)
            self._say_how_to_go_on()
            raise
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _say_how_to_go_on(self) -> None:
        self.progress.message(f"Go on with: sluice apply {self.environment} --yes")
        self.progress.message(f"or go back with: sluice abort {self.environment} --endpoint NAME --reason WHY")


@contextlib.asynccontextmanager
async def driving(composed: Composed, *, as_json: bool) -> AsyncIterator[Drive]:
    """Return what a command drives rollouts with; progress goes to stderr when stdout is for JSON."""
    from reconciler.engine.apply import Applier
    from reconciler.output.console import console
    from reconciler.output.progress import Progress

    with Progress(console(stderr=as_json)) as progress:
        applier = Applier(composed.adapters(), composed.planner(), watch=progress.watch, message=progress.message)
        yield Drive(applier, progress, composed.loaded.spec.environment)
