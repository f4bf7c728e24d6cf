"""What one region keeps on disk, under `HOME/ENVIRONMENT/REGION/`: slots, fences, locks and the gateway's files.

    region.lock               held while gateway files or records change
    fences.json               the highest lease token seen for each endpoint
    gateway/                  Envoy's supervised folder, with gateway.json, bootstrap.json, cds.json, rds.json
    endpoints/NAME/SLOT/      a server's supervised folder, with slot.json and started
    endpoints/NAME/SLOT.lock  held by `start` and `stop` of the slot
    endpoints/NAME/SLOT.log   what the slot's last server said, after its folder is gone

Imports the core. Called by `platform`, `slots`, `gateway` and `down`. Every file is replaced by renaming.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from environments.errors import SluiceError
from environments.names import SLOTS
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release, release_from_json, release_to_json

_POLL_S = 0.005
_STARTED = "started"
LOCK = "region.lock"


@dataclass(frozen=True)
class SlotRecord:
    """What a slot was told to run. `warm` is the server generation that was warmed up; `stopping` says it is to go.

    `model_path` is the folder that the server was started with; a record of an earlier version has none.
    """

    release: Release
    port: int
    model_path: str = ""
    warm: str = ""
    stopping: bool = False

    @property
    def url(self) -> str:
        """Return the server's own address, past the gateway."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Layout:
    """Where the files of one region lie."""

    root: Path

    @property
    def gateway(self) -> Path:
        """Return Envoy's folder."""
        return self.root / "gateway"

    def slot(self, endpoint: str, slot: str) -> Path:
        """Return the folder of one slot."""
        return self.root / "endpoints" / endpoint / slot

    def endpoints(self) -> tuple[str, ...]:
        """Return the endpoints with something in a slot, sorted; none when the region was never started.

        Raises:
            SluiceError: `PLAT-001` the folder cannot be read.
        """
        folder = self.root / "endpoints"
        try:
            return tuple(sorted(p.name for p in folder.iterdir() if any((p / slot).is_dir() for slot in SLOTS)))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _unreadable(folder, str(self.root), error) from error


def read_slot(folder: Path, where: str) -> SlotRecord | None:
    """Return a slot's record; None when the slot is empty.

    Raises:
        SluiceError: `PLAT-002` the file is damaged.
    """
    data = read_json(folder / "slot.json", where)
    if data is None:
        return None
    try:
        release = release_from_json(data["release"])
        return SlotRecord(
            release=release,
            port=int(data["port"]),
            model_path=str(data.get("model_path", "")),
            warm=str(data["warm"]),
            stopping=bool(data["stopping"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / "slot.json", where, repr(error)) from error


def digests_in_slots(home: Path) -> frozenset[str] | None:
    """Return the digests of everything that servers of any environment were started with; None when one is unknown."""
    found: set[str] = set()
    for record in home.glob("*/*/endpoints/*/*/slot.json"):
        try:
            held = read_slot(record.parent, str(record))
        except SluiceError:
            return None
        if held:
            found |= {artifact.digest for artifact in (held.release.model, *held.release.adapters.values())}
    return frozenset(found)


def write_slot(folder: Path, record: SlotRecord) -> None:
    """Replace a slot's record."""
    data = {
        "release": release_to_json(record.release),
        "port": record.port,
        "model_path": record.model_path,
        "warm": record.warm,
        "stopping": record.stopping,
    }
    write_json(folder / "slot.json", data)


def remember_started(folder: Path, generation: str) -> None:
    """Note that this process of a slot's server has been ready; whoever looks may, because it is true for good.

    Where it cannot be written the next look notes it again: a full disk must not stop a look.
    """
    new = folder / f"{_STARTED}.{os.getpid()}"
    with contextlib.suppress(OSError):
        new.write_text(generation, encoding="utf-8")
        os.replace(new, folder / _STARTED)


def started_generation(folder: Path) -> str:
    """Return the last process of a slot's server that is known to have been ready; empty when there is none."""
    try:
        return (folder / _STARTED).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def read_json(path: Path, where: str) -> Json | None:
    """Return a JSON object, None when there is no such file.

    Raises:
        SluiceError: `PLAT-001` it cannot be read, `PLAT-002` it holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path, where, str(error)) from error
    except OSError as error:
        raise _unreadable(path, where, error) from error
    if not isinstance(data, dict):
        raise _damaged(path, where, "it holds no JSON object")
    return data


def write_json(path: Path, data: Json) -> None:
    """Replace a file in one step; readers see the old content or the new one, after a power cut too.

    Raises:
        SluiceError: `PLAT-011` it could not be written, and the old file is still there.
    """
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(new, json.dumps(data))  # an indent would take the slow encoder: 40 ms for fifty endpoints
        os.replace(new, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise SluiceError(
            "PLAT-011",
            where=str(path),
            what="the local platform's state could not be written",
            why=str(error),
            do="make room on the disk, or set SLUICE_HOME to a folder that can be written",
            retryable=True,
        ) from error


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def locked(path: Path, *, wait_s: float, where: str) -> AsyncIterator[None]:
    """Hold a file lock, which ends with this process at the latest.

    Raises:
        SluiceError: `PLAT-012` someone else held it for all of `wait_s`, or everything was taken down meanwhile.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SluiceError(
            "PLAT-011",
            where=where,
            what=f"{path} cannot be made",
            why=str(error),
            do="set SLUICE_HOME to a folder that can be written",
        ) from error
    try:
        await _take(lock, time.monotonic() + wait_s, path, where)
        if not _is_at(lock, path):
            raise _taken_down(path, where)
        yield
    finally:
        os.close(lock)


async def _take(lock: int, until: float, path: Path, where: str) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise SluiceError(
                    "PLAT-012",
                    where=where,
                    what=f"{path.name} is held by another process",
                    why="one process at a time changes a region's gateway, and one a slot",
                    do="try again; `sluice status` shows who is at work",
                    retryable=True,
                ) from None
            await asyncio.sleep(_POLL_S)
        else:
            return


def _is_at(lock: int, path: Path) -> bool:
    """Return whether a lock file is still where it was opened: `down` deletes it while others wait for it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(lock)
    return (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino)


def _taken_down(path: Path, where: str) -> SluiceError:
    return SluiceError(
        "PLAT-012",
        where=where,
        what=f"{path.parent} was deleted while this waited for it",
        why="`sluice down` has ended the environment",
        do="run `sluice apply` to start it again",
        retryable=True,
    )


def _unreadable(path: Path, where: str, error: OSError) -> SluiceError:
    return SluiceError(
        "PLAT-001",
        where=where,
        what=f"{path} cannot be read",
        why=str(error),
        do="check what it is and who may read it",
        retryable=True,
    )


def _damaged(path: Path, where: str, why: str) -> SluiceError:
    return SluiceError(
        "PLAT-002",
        where=where,
        what=f"{path} is damaged",
        why=why,
        do="start the release again (`sluice apply`), or clear the environment with `sluice down`",
    )
