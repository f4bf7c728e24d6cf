"""The install of Triton: done once, begun again when the lock changes, and a launcher that names each start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.demo import triton_engine
from reconciler.demo.triton_engine import ensure_triton, install_commands, is_installed, launcher_text


def quiet(_: str) -> None:
    pass


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the installer by one that makes an empty program, and record where it was asked to."""
    done: list[Path] = []

    def install(home: Path, echo: Callable[[str], None]) -> None:
        done.append(home)
        program = triton_engine._program(home)
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()

    monkeypatch.setattr(triton_engine, "_install", install)
    monkeypatch.setattr(triton_engine, "_check_machine", lambda: None)
    monkeypatch.setattr(triton_engine, "_check_disk", lambda home: None)
    return done


def test_installs_once_and_returns_the_launcher(tmp_path: Path, installs: list[Path]) -> None:
    assert not is_installed(tmp_path)
    launcher = ensure_triton(tmp_path, quiet)
    assert ensure_triton(tmp_path, quiet) == launcher == tmp_path.resolve() / "triton/serve"
    assert len(installs) == 1
    assert launcher.stat().st_mode & 0o111


def test_another_recipe_installs_again(tmp_path: Path, installs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_triton(tmp_path, quiet)
    monkeypatch.setattr(triton_engine, "_RECIPE", triton_engine._RECIPE + 1)
    assert not is_installed(tmp_path)
    ensure_triton(tmp_path, quiet)
    assert len(installs) == 2


def test_the_launcher_names_each_start_and_lets_the_caller_say_the_rest(tmp_path: Path) -> None:
    lines = launcher_text(tmp_path).splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "read -r id < /proc/sys/kernel/random/uuid" in lines
    assert lines[-1].endswith('--id="$id" "$@"')


@pytest.mark.parametrize("uv", [(), ("uv",)])
def test_every_package_is_held_to_its_hash(uv: tuple[str, ...]) -> None:
    *_, last = install_commands(Path("venv"), uv)
    assert {"--require-hashes", "--no-deps"} <= set(last)
    assert last[-1].endswith("requirements/triton.txt")


def test_a_machine_without_wheels_is_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(SluiceError, match="ENG-002"):
        ensure_triton(tmp_path, quiet)


def test_a_python_without_a_backend_is_a_coded_error(tmp_path: Path) -> None:
    stubs = triton_engine._site(tmp_path) / "pytriton/tritonserver/python_backend_stubs"
    for name in ("3.9", "3.10"):
        (stubs / name).mkdir(parents=True)
    with pytest.raises(SluiceError, match="ENG-002") as caught:
        triton_engine._link_backend(tmp_path)
    assert "3.9, 3.10" in caught.value.problem.why


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_engine, "_check_machine", lambda: None)
    monkeypatch.setattr(triton_engine, "NEEDED_GB", 1e9)
    with pytest.raises(SluiceError, match="ENG-003"):
        ensure_triton(tmp_path, quiet)


def test_a_missing_lock_file_is_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensured = tmp_path / "triton"
    ensured.mkdir()
    (ensured / "stamp").write_text("an earlier install")
    monkeypatch.setattr(triton_engine, "_LOCK", tmp_path / "nowhere.txt")
    with pytest.raises(SluiceError, match="ENG-001"):
        ensure_triton(tmp_path, quiet)
