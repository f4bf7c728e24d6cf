"""Writes an xDS file and waits until Envoy has it in force; puts the old file back when Envoy refuses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.platforms.local import admin, routes
from reconciler.platforms.local.admin import AdminError
from reconciler.platforms.local.processes import last_words
from reconciler.platforms.local.state import write_json
from reconciler.platforms.local.supervisor import LOG

CLUSTERS, ROUTES = "cds.json", "rds.json"
_SUBSCRIPTION = {CLUSTERS: "cluster_manager.cds", ROUTES: f"http.public.rds.{routes.ROUTES}"}
_CONFIRM_S = 5.0
_PAUSE_MAX_S = 0.05


async def put_in_force(path: Path, response: Json, *, admin_port: int | None, where: str) -> None:
    """Replace a file and return when Envoy says that its version is in force; without Envoy, just replace it.

    Raises:
        SluiceError: `PLAT-009` Envoy refuses it, `PLAT-010` it does not say so in time; the old file is back then.
            `PLAT-011` it could not be written.
    """
    wanted = response["version_info"]
    if admin_port is None:
        write_json(path, response)
        return
    try:
        if await _version_in_force(admin_port, path.name) == wanted == _version(path):
            return
        refused_before = await _refusals(admin_port, path.name)
        with _kept(path, where):
            write_json(path, response)
            await _confirm(admin_port, path, wanted, refused_before, where=where)
    except AdminError as error:
        raise silent(path.parent, where, str(error)) from error


def silent(folder: Path, where: str, why: str) -> SluiceError:
    """Return the error for an Envoy that does not answer or obey."""
    said = last_words(folder / LOG)
    return SluiceError(
        "PLAT-010",
        where=where,
        what="the gateway did not confirm what it was told",
        why=f"{why}; it said last: {said}" if said else why,
        do=f"try again; its log is {folder / LOG}",
        retryable=True,
    )


async def _confirm(port: int, path: Path, wanted: str, refused_before: int, *, where: str) -> None:
    """Return when a version is in force. Refusals are dear to read and never expected, so they are read rarely."""
    until, pause = time.monotonic() + _CONFIRM_S, 0.002
    while await _version_in_force(port, path.name) != wanted:
        if pause >= _PAUSE_MAX_S and await _refusals(port, path.name) > refused_before:
            raise SluiceError(
                "PLAT-009",
                where=where,
                what=f"Envoy refused the new {path.name}; what it had before is still in force",
                why=last_words(path.parent / LOG),
                do="this is a fault of Sluice: please report it with this text",
            )
        if time.monotonic() > until:
            raise AdminError(f"version {wanted} of {path.name} was not in force after {_CONFIRM_S:g} s")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _PAUSE_MAX_S)


async def _version_in_force(port: int, name: str) -> str:
    stat = f"{_SUBSCRIPTION[name]}.version_text"
    return (await admin.stats(port, "TextReadouts", rf"^{stat}$")).get(stat, "")


async def _refusals(port: int, name: str) -> int:
    """Return how often Envoy has refused a version."""
    stat = f"{_SUBSCRIPTION[name]}.update_rejected"
    return int((await admin.stats(port, "Counters", rf"^{stat}$")).get(stat, "0"))


def _version(path: Path) -> str | None:
    try:
        found = json.loads(path.read_bytes())["version_info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


@contextlib.contextmanager
def _kept(path: Path, where: str) -> Iterator[None]:
    """Put a file back as it was when the block fails, by renaming: Envoy reads it again, and no room is needed."""
    old = path.with_name(path.name + ".old")
    try:
        old.unlink(missing_ok=True)
        if path.exists():
            old.hardlink_to(path)
    except OSError as error:
        raise SluiceError(
            "PLAT-011", where=where, what=f"{old} could not be made", why=str(error), do="make room on the disk"
        ) from error
    try:
        yield
    except BaseException:
        if old.exists():
            old.replace(path)
        raise
    old.unlink(missing_ok=True)
