"""The install of vLLM: done once, gone on with after an interruption, begun again when the recipe changes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.demo import engines
from reconciler.demo.engines import ensure_vllm, install_commands, launcher_text, serve_command


def quiet(_: str) -> None:
    pass


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the installer by one that makes an empty program, and record where it was asked to."""
    done: list[Path] = []

    def install(venv: Path, echo: Callable[[str], None]) -> None:
        done.append(venv)
        (venv / "bin").mkdir(parents=True, exist_ok=True)
        (venv / "bin" / "vllm").touch()

    monkeypatch.setattr(engines, "_install", install)
    monkeypatch.setattr(engines, "_check_machine", lambda: None)
    monkeypatch.setattr(engines, "_check_disk", lambda home: None)
    return done


def test_installs_once_and_returns_the_program(tmp_path: Path, installs: list[Path]) -> None:
    program = ensure_vllm(tmp_path, quiet)
    assert ensure_vllm(tmp_path, quiet) == program == tmp_path.resolve() / "vllm/venv/bin/vllm"
    assert len(installs) == 1


def test_an_interrupted_install_is_gone_on_with(
    tmp_path: Path, installs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = tmp_path / "vllm" / "venv"

    def interrupted(*_: object) -> None:
        venv.mkdir(parents=True)
        (venv / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engines, "_install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_vllm(tmp_path, quiet)
    ensure_vllm(tmp_path, quiet)
    assert len(installs) == 1
    assert (venv / "half").exists()


def test_another_recipe_begins_again(tmp_path: Path, installs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_vllm(tmp_path, quiet)
    (tmp_path / "vllm/venv/old").touch()
    monkeypatch.setattr(engines, "_RECIPE", engines._RECIPE + 1)
    ensure_vllm(tmp_path, quiet)
    assert len(installs) == 2
    assert not (tmp_path / "vllm/venv/old").exists()


def test_a_moved_cache_is_installed_again(tmp_path: Path, installs: list[Path]) -> None:
    ensure_vllm(tmp_path / "one", quiet)
    (tmp_path / "one").rename(tmp_path / "two")
    ensure_vllm(tmp_path / "two", quiet)
    assert len(installs) == 2


def test_missing_lock_files_are_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_REQUIREMENTS", tmp_path)
    with pytest.raises(SluiceError, match="ENG-001"):
        ensure_vllm(tmp_path, quiet)


def test_a_machine_without_wheels_is_a_coded_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(SluiceError, match="ENG-002"):
        ensure_vllm(tmp_path, quiet)


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_check_machine", lambda: None)
    monkeypatch.setattr(engines, "NEEDED_GB", 1e9)
    with pytest.raises(SluiceError, match="ENG-003"):
        ensure_vllm(tmp_path, quiet)


def test_a_failing_installer_is_a_coded_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("sh", "-c", "echo ' + quiet'; echo no route; exit 7")
    monkeypatch.setattr(engines, "_check_machine", lambda: None)
    monkeypatch.setattr(engines, "_check_disk", lambda home: None)
    monkeypatch.setattr(engines, "install_commands", lambda venv, installer: (command,))
    lines: list[str] = []
    with pytest.raises(SluiceError, match="ENG-004") as caught:
        ensure_vllm(tmp_path, lines.append)
    assert "no route" in caught.value.problem.why
    assert lines[1:] == ["  no route"]
    assert not (tmp_path / "vllm" / "stamp").exists()


@pytest.mark.parametrize("installer", [("uv",), ()])
def test_nothing_is_installed_without_a_hash_or_beyond_the_lock(tmp_path: Path, installer: tuple[str, ...]) -> None:
    last = install_commands(tmp_path, installer)[-1]
    assert {"--require-hashes", "--no-deps"} <= set(last)
    assert [Path(part).name for part in last if part.endswith(".txt")] == ["vllm.txt", "vllm-wheel.txt"]


def test_the_launcher_becomes_the_program_with_the_callers_arguments_last(tmp_path: Path, installs: list[Path]) -> None:
    program = ensure_vllm(tmp_path, quiet)
    program.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS"\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    command = [*serve_command(tmp_path), "/a model", "--port", "1"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[:3] == ["1", "serve", "/a model"]
    assert words[3:] == [*engines.VLLM_FLAGS, "--port", "1"]
    assert launcher_text(program).startswith("#!/bin/sh\n")
