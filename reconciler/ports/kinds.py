"""What a platform is to the commands: one record that says how it is built, examined and ended on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from environments.spec import EnvironmentSpec
from reconciler.ports.copies import CopiesAt
from reconciler.ports.evidence import CollectedAt
from reconciler.ports.references import Files
from reconciler.ports.serving import PlatformReader, PlatformWriter, Runtime


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. `state` is `ok`, `missing` (something will not work) or `absent` (optional)."""

    name: str
    state: str
    found: str
    do: str = ""


class Platform(PlatformReader, PlatformWriter, Protocol):
    """One region: what is live there, and how it is changed."""


@dataclass(frozen=True)
class Site:
    """What a region is built from. `root` is the folder above `environments/`, `home` where state lives.

    `declared` is the whole environment file, in which `spec` is the region's block. `copies` reads buckets of models;
    None where nobody may ask them. `collected` reads the counters that a Prometheus at an address has scraped.
    """

    environment: str
    region: str
    spec: Any
    root: Path
    home: Path
    files: Files
    runtime_for: Callable[[str], Runtime]
    declared: EnvironmentSpec
    copies: CopiesAt | None = None
    collected: CollectedAt | None = None


def _no_checks(region: str, spec: Any) -> Iterable[Check]:
    return ()


@dataclass(frozen=True)
class PlatformKind:
    """One kind of platform. docs/adding/platform.md says how to add one.

    `checks` is what `sluice doctor` says of a region. `down` ends everything of an environment on this machine and
    returns how many processes that were; `orphans` counts those whose record is gone. Both are None for a platform
    that has no processes here.
    """

    name: str
    build: Callable[[Site], Platform]
    checks: Callable[[str, Any], Iterable[Check]] = _no_checks
    down: Callable[[Path, str], Awaitable[int]] | None = None
    orphans: Callable[[Path, str], int] | None = None
