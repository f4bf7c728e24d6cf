"""One slot's server: started from a release, looked at, and ended. Imports this package's parts and the ports.

Called by `platform`; knows nothing of weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from environments.spec import LocalRegion
from reconciler.core.model.observed import ObservedSlot, Replica, ServerState, one_server
from reconciler.core.model.release import Release
from reconciler.platforms.local.inherited import inherited
from reconciler.platforms.local.port_lease import handing_over, reserve_row
from reconciler.platforms.local.processes import Launch, Supervised, end_folder, last_words, launch, read_supervised
from reconciler.platforms.local.state import (
    SlotRecord,
    read_slot,
    remember_started,
    started_generation,
    write_slot,
)
from reconciler.platforms.local.supervisor import LOG
from reconciler.ports import LaysOutFiles, Runtime

GRACE_S = 30.0
"""How long a server may take to finish what is in flight: more than vLLM's `--shutdown-timeout 20`."""
_READY_S = 10.0
FILES = "files"
"""The folder of what a server starts from besides the release's own files; it goes when the slot is emptied."""


@dataclass(frozen=True)
class Seen:
    """A slot's record (None: empty), why it cannot be read, and what its supervisor says (None: never started)."""

    record: SlotRecord | None
    damage: SluiceError | None
    supervised: Supervised | None

    @property
    def serving(self) -> bool:
        """Return whether a server runs here or will be back by itself, and is not about to be stopped."""
        return bool(self.record and not self.record.stopping and self.supervised and self.supervised.running)

    @property
    def generation(self) -> str:
        """Return a text that changes when the server is started again; empty when none runs."""
        return self.supervised.generation if self.supervised else ""

    @property
    def warm(self) -> bool:
        """Return whether the present process was warmed up."""
        return self.record is not None and self.generation == self.record.warm != ""


def look(folder: Path, where: str) -> Seen:
    """Return what is on disk about a slot; a damaged record is told, not raised."""
    try:
        return Seen(read_slot(folder, where), None, read_supervised(folder))
    except SluiceError as error:
        return Seen(None, error, read_supervised(folder))


async def observed(
    folder: Path, weight_pct: float, noted: str | None, runtime_for: Callable[[str], Runtime], where: str
) -> ObservedSlot:
    """Return the slot as it is, asking the server itself whether it is ready.

    `noted` is the release that the gateway's routes name; it is told where the slot's own record is lost.
    """
    seen = look(folder, where)
    if seen.record is None:
        return _unrecorded(seen, weight_pct, noted)
    state, reason = await _state(seen, seen.record, runtime_for, folder)
    server = Replica(
        name=where.rpartition("/")[2],
        state=state,
        warm=seen.warm,
        restarts=seen.supervised.restarts if seen.supervised else 0,
        reason=reason,
        url=seen.record.url,
    )
    return one_server(seen.record.release, server, weight_pct=weight_pct)


def _unrecorded(seen: Seen, weight_pct: float, noted: str | None) -> ObservedSlot:
    """Return an empty slot; with weight, or a damaged record, one of which nothing is known but what is noted."""
    if seen.damage is None and weight_pct == 0:
        return ObservedSlot()
    why = seen.damage.problem.what if seen.damage else "its record is lost"
    told = f"{why}; the gateway names {noted}" if noted else why
    return ObservedSlot(weight_pct=weight_pct, damage=told)


def _started(folder: Path, seen: Seen, *, ready: bool) -> bool:
    """Return whether the present process was ever ready, and remember it when it is ready now."""
    if not seen.generation:
        return False
    known = seen.warm or started_generation(folder) == seen.generation
    if ready and not known:
        remember_started(folder, seen.generation)
    return ready or known


async def start_server(
    folder: Path, release: Release, runtime: Runtime, region: LocalRegion, *, paths: Mapping[str, str], where: str
) -> None:
    """Start a release's server in an empty folder; return when its process exists.

    `paths` are the folders of the release's artifacts, keyed as its lineage is.

    Raises:
        SluiceError: `PLAT-006` no port, `PLAT-008` the program is not there or does not start, `PLAT-016` a variable
            that the region names is not set, or what the runtime says of the release's files; the slot is empty then.
    """
    environment = inherited(os.environ, region.serve_env, where=where)
    seen = await _laid_out(folder, release, runtime, paths)
    reserved = reserve_row(str(folder), runtime.ports)
    with handing_over(reserved):
        options = runtime.options(release, paths=seen, host="127.0.0.1", port=reserved[0].port)
        program, *command = region.serve_command
        line = (_program(program, where), *command, *options.arguments)
        wanted = Launch(line, GRACE_S, {**environment, **options.environment})
        # The record comes first: if this process dies here, the next one finds a slot whose server is missing.
        write_slot(folder, SlotRecord(release, reserved[0].port, paths["model"]))
        await launch(folder, wanted, reserved, where=where)


async def _laid_out(folder: Path, release: Release, runtime: Runtime, paths: Mapping[str, str]) -> Mapping[str, str]:
    """Return the paths that a server is started with, after what it needs besides the release's files was made."""
    if not isinstance(runtime, LaysOutFiles):
        return paths
    made = folder / FILES
    await asyncio.to_thread(made.mkdir, parents=True, exist_ok=True, mode=0o700)
    return await asyncio.to_thread(runtime.lay_out, release, paths=paths, folder=made)


async def end_server(folder: Path, *, where: str) -> None:
    """End a slot's server and forget it, but for its log; succeed when there is none.

    Raises:
        SluiceError: `PLAT-013` it would not die.
    """
    left = await end_folder(folder, grace_s=GRACE_S)
    if left:
        raise SluiceError(
            "PLAT-013",
            where=where,
            what=f"process {left[0].pid} could not be ended",
            why="it belongs to another user or hangs in the kernel",
            do=f"end it by hand: kill -9 {left[0].pid}",
            retryable=True,
        )
    await asyncio.to_thread(_clear, folder)


def _clear(folder: Path) -> None:
    """Delete a slot's folder; its log moves beside it, because a rollback's reason is often in there."""
    with contextlib.suppress(FileNotFoundError):
        (folder / LOG).replace(folder.with_suffix(".log"))
    shutil.rmtree(folder, ignore_errors=True)


async def _state(
    seen: Seen, record: SlotRecord, runtime_for: Callable[[str], Runtime], folder: Path
) -> tuple[ServerState, str | None]:
    """Return what the slot's server does, and why it is not ready."""
    if record.stopping:
        return ServerState.STOPPING, "it is being stopped"
    if seen.supervised is None:
        return ServerState.DEAD, "its server was never started"
    if not seen.supervised.running:
        return ServerState.DEAD, "its server and supervisor are gone" + _history(seen.supervised, folder)
    if not seen.generation:
        return ServerState.RESTARTING, "its server is down and will be restarted" + _history(seen.supervised, folder)
    try:
        runtime = runtime_for(record.release.runtime)
        ask = runtime.ready(record.url, record.release, model_path=record.model_path)
        why = await asyncio.wait_for(ask, _READY_S)
    except TimeoutError:
        why = f"no answer within {_READY_S:g} s"
    except SluiceError as error:
        if not error.retryable:
            return ServerState.WRONG_MODEL, error.problem.what
        why = error.problem.what
    else:
        why = why + _history(seen.supervised, folder) if why else None
    if _started(folder, seen, ready=why is None):
        return (ServerState.SILENT if why else ServerState.READY), why
    return ServerState.STARTING, why


def _history(supervised: Supervised, folder: Path) -> str:
    """Return how the last process ended and what it said last; empty when none has ended yet."""
    ended = supervised.last_exit
    if not ended:
        return ""
    ago = max(0.0, time.time() - float(ended["at"]))
    said = last_words(folder / LOG)
    how = f"signal {-ended['code']}" if ended["code"] < 0 else f"exit code {ended['code']}"
    return f"; the last one ended {ago:.0f} s ago with {how}" + (f", saying: {said[:300]}" if said else "")


def _program(name: str, where: str) -> str:
    """Return the absolute path of a program, so that the supervisor finds it whatever PATH it has."""
    found = shutil.which(name)
    if found is None:
        raise SluiceError(
            "PLAT-008",
            where=where,
            what=f'the program "{name}" of `serve_command` is not there',
            why="it is neither a program on PATH nor a file that can be run",
            do="install it, or correct `serve_command` in the environment file",
        )
    return os.path.abspath(found)
