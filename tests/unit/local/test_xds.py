"""Files for Envoy: believed only when it names their version, taken back when it refuses or stays silent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.platforms.local import xds
from reconciler.platforms.local.admin import AdminError

OLD, NEW = {"version_info": "old", "resources": []}, {"version_info": "new", "resources": []}
Standing = tuple[str, int] | AdminError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a route file that holds the old version."""
    found = tmp_path / xds.ROUTES
    found.write_text(json.dumps(OLD))
    return found


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> list[Standing]:
    """Return the list of what the admin port says next: version in force and refusals so far, or an error."""
    answers: list[Standing] = []

    async def stats(port: int, kind: str, pattern: str) -> Mapping[str, str]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, AdminError):
            raise found
        prefix = "http.public.rds.routes"
        match kind:
            case "TextReadouts":
                return {f"{prefix}.version_text": found[0]}
            case "Counters":
                return {f"{prefix}.update_rejected": str(found[1])}
            case _:
                raise AssertionError(f"nothing asks for {kind}")

    monkeypatch.setattr("reconciler.platforms.local.admin.stats", stats)
    return answers


def put(path: Path, admin_port: int | None = 1) -> None:
    asyncio.run(xds.put_in_force(path, NEW, admin_port=admin_port, where="test/local"))


def test_it_returns_when_the_version_is_in_force(path: Path, script: list[Standing]) -> None:
    script += [("old", 0), ("old", 0), ("new", 0)]
    put(path)
    assert json.loads(path.read_text()) == NEW
    assert sorted(p.name for p in path.parent.iterdir()) == [xds.ROUTES]


def test_what_is_in_force_is_not_written_again(path: Path, script: list[Standing]) -> None:
    script += [("new", 0)]
    path.write_text(json.dumps(NEW))
    before = path.stat().st_ino
    put(path)
    assert path.stat().st_ino == before


def test_a_file_that_differs_from_what_is_in_force_is_written_again(path: Path, script: list[Standing]) -> None:
    script += [("new", 0)]
    path.write_text("damaged")
    put(path)
    assert json.loads(path.read_text()) == NEW


def test_a_refused_version_is_taken_back(path: Path, script: list[Standing]) -> None:
    script += [("old", 3), ("old", 3), ("old", 4)]
    with pytest.raises(SluiceError) as refused:
        put(path)
    assert (refused.value.code, refused.value.retryable) == ("PLAT-009", False)
    assert json.loads(path.read_text()) == OLD


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xds, "_CONFIRM_S", -1.0)


@pytest.mark.usefixtures("_no_patience")
def test_a_version_that_is_never_in_force_is_taken_back(path: Path, script: list[Standing]) -> None:
    script += [("old", 0)]
    with pytest.raises(SluiceError) as silent:
        put(path)
    assert (silent.value.code, silent.value.retryable) == ("PLAT-010", True)
    assert json.loads(path.read_text()) == OLD


def test_an_admin_port_that_falls_silent_midway_has_it_taken_back(path: Path, script: list[Standing]) -> None:
    script += [("old", 0), AdminError("gone")]
    with pytest.raises(SluiceError, match="PLAT-010"):
        put(path)
    assert json.loads(path.read_text()) == OLD


def test_without_envoy_the_file_is_all(path: Path) -> None:
    put(path, admin_port=None)
    assert json.loads(path.read_text()) == NEW
