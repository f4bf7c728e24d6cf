"""Copies of MLflow's artifacts on this machine, downloaded once and whole or not at all.

Imports its siblings; only `reconciler.registries.mlflow` uses it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from environments.errors import SluiceError
from reconciler.registries.mlflow_api import MlflowApi
from reconciler.registries.safety import refuse_pickles, require_servable

_PROXY_ROUTE = "/api/2.0/mlflow-artifacts/artifacts/"
_MAX_DEPTH = 8
_LOCK_POLL_S = 0.2


@dataclass(frozen=True)
class RemoteFile:
    """One file of an artifact: its path inside it and its size in bytes."""

    name: str
    size: int


def proxied_path(ref: str, uri: str) -> str:
    """Return where the server's proxy keeps the artifact that `uri` names.

    Raises:
        SluiceError: `REG-004` it is not reached through the proxy.
    """
    parts = urlsplit(uri)
    if parts.scheme == "mlflow-artifacts":
        return parts.path.strip("/")
    if parts.scheme in ("http", "https") and _PROXY_ROUTE in parts.path:
        return parts.path.split(_PROXY_ROUTE, 1)[1].strip("/")
    raise SluiceError(
        "REG-004",
        where=ref,
        what=f"this build has no adapter for artifacts at {parts.scheme or 'a plain path'}",
        why="it downloads what the tracking server itself serves (mlflow-artifacts:)",
        do="start the server with --serve-artifacts and --artifacts-destination, and log the model again",
    )


async def fetch(api: MlflowApi, *, ref: str, kind: str, uri: str, folder: Path) -> None:
    """Put an artifact's files into `folder` unless it is there already; other processes wait for the one that does.

    Raises:
        SluiceError: `REG-001` empty, `REG-002` refused, `REG-003` out of reach or cut short, `REG-004`.
    """
    path = proxied_path(ref, uri)
    folder.parent.mkdir(parents=True, exist_ok=True)
    async with locked(folder.with_name(f"{folder.name}.lock")):
        if _is_there(folder):
            return
        files = await _listed(api, ref, path)
        refuse_pickles(ref, [f.name for f in files])
        require_servable(ref, kind, [f.name for f in files])
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        for file in files:
            await _download(api, ref, f"{path}/{file.name}", file, part / file.name)
        part.replace(folder)


def remember(folder: Path, facts: dict[str, Any]) -> None:
    """Write what was learned about a copy beside it."""
    beside = folder.with_name(f"{folder.name}.json")
    part = beside.with_name(f"{beside.name}.{os.getpid()}")
    part.write_text(json.dumps(facts, sort_keys=True, indent=1))
    part.replace(beside)


def recall(folder: Path) -> dict[str, Any] | None:
    """Return `digest` and `datasets` as remembered of a copy that is still there, None when there is none."""
    try:
        facts = json.loads(folder.with_name(f"{folder.name}.json").read_text())
    except (OSError, ValueError):
        return None
    whole = isinstance(facts, dict) and {"digest", "datasets"} <= set(facts)
    return facts if whole and folder.is_dir() else None


def changed_copy(ref: object, folder: Path) -> SluiceError:
    """Return that a copy has another content than was downloaded."""
    return SluiceError(
        "REG-002",
        where=str(ref),
        what="the copy on this machine is not what was downloaded",
        why=f"{folder} was changed since",
        do=f"remove {folder} and run the same command again",
    )


def _is_there(folder: Path) -> bool:
    return folder.exists()


async def _listed(api: MlflowApi, ref: str, path: str) -> list[RemoteFile]:
    found: list[RemoteFile] = []
    waiting = [("", 0)]
    while waiting:
        prefix, depth = waiting.pop()
        for item in await api.list_artifacts(f"{path}/{prefix}".rstrip("/"), ref):
            name = str(item.get("path", ""))
            _refuse_odd(ref, name, depth)
            if item.get("is_dir"):
                waiting.append((f"{prefix}{name}/", depth + 1))
            else:
                found.append(RemoteFile(f"{prefix}{name}", int(item.get("file_size", 0))))
    if not found:
        raise SluiceError(
            "REG-001",
            where=ref,
            what="the version's artifact is empty",
            why=f"the server lists nothing under {path}",
            do="log the model's files to the run and register the version again",
        )
    return sorted(found, key=lambda f: f.name)


def _refuse_odd(ref: str, name: str, depth: int) -> None:
    """Refuse names with which a server could make us write outside the folder, or walk for ever."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\x00" in name or depth > _MAX_DEPTH:
        raise SluiceError(
            "REG-002", where=ref, what=f"the server lists a file called {name!r}", do="check the registry's server"
        )


async def _download(api: MlflowApi, ref: str, path: str, file: RemoteFile, target: Path) -> None:
    stored = 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        async with api.download(path, ref) as blocks:
            with target.open("wb") as out:
                async for block in blocks:
                    stored += out.write(block)
                out.flush()
                os.fsync(out.fileno())
                os.fchmod(out.fileno(), 0o444)
    except OSError as error:
        raise SluiceError(
            "REG-003",
            where=ref,
            what=f"{file.name} could not be stored",
            why=str(error),
            do=f"make room for it under {target.parent}",
            retryable=True,
        ) from error
    if stored != file.size:
        raise SluiceError(
            "REG-003",
            where=ref,
            what=f"{file.name} was cut short: {stored} of {file.size} bytes",
            do="run the same command again",
            retryable=True,
        )


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold an advisory lock on a file; the kernel gives it back when the process dies."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_LOCK_POLL_S)
        yield
