"""What a person at the command line reads: every help page, and what is said about a wrong call.

The texts are made anew with `SLUICE_GOLDEN=write pytest tests/golden`, then read in the diff.
"""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from reconciler.cli.main import cli, run
from tests.golden.test_environments import expect_same
from tests.support.processes import ROOT

HERE = Path(__file__).parent
_SHOWN = 90  # columns; what follows are the names of every command or policy there is
WRONG = (
    ("pln", "dev"),
    ("plan", "dev", "--jsn"),
    ("plan", "prd"),
    ("plan", "dev", "--endpoint", "chatt"),
    ("history", "dev", "--limit", "many"),
    ("policy", "lst"),
    ("policy", "explain", "GPU-01"),
    ("pause", "dev", "--endpoint", "chat"),
    ("gate", "eval", "dev", "--endpoint", "chat", "--search"),
    ("gate", "load", "dev", "--endpoint", "chat", "--search", "--junit", "x.xml"),
    ("apply", "nowhere.json"),
    ("rollback",),
)


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in an empty project with one environment, before a terminal of 100 columns."""
    folder = tmp_path / "environments"
    folder.mkdir()
    region = {"platform": "local", "gateway_port": 18080, "serve_command": ["x"]}
    release = {"model": "file:models/v1"}
    spec = {
        "environment": "dev",
        "owner": "us",
        "store": "sqlite:///.sluice/dev.db",
        "regions": {"local": region},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": release}},
    }
    (folder / "dev.yaml").write_text(json.dumps(spec, indent=1))
    for name, value in {"COLUMNS": "100", "SLUICE_HOME": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    for name in ("SLUICE_ENVIRONMENTS", "NO_COLOR", "CI", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def pages(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command and group, outermost first."""
    yield path
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from pages(command, (*path, name))
        else:
            yield (*path, name)


def test_every_help_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(cli, click.Group)
    said = []
    for words in pages(cli):
        assert run([*words, "--help"]) == 0
        said.append(f"$ sluice {' '.join([*words, '--help'])}\n{capsys.readouterr().out}")
    expect_same(HERE / "cli_help.txt", "\n".join(said))


def test_what_is_said_about_wrong_calls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = []
    for words in WRONG:
        code = run(list(words))
        shown = capsys.readouterr()
        assert (code, shown.out) == (1, ""), words
        lines = [line[:_SHOWN] for line in shown.err.replace(f"{tmp_path}/", "").splitlines()]
        said.append("\n".join([f"$ sluice {' '.join(words)}", *lines, ""]))
    expect_same(HERE / "cli_wrong.txt", "\n".join(said))


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_an_error_is_one_object_on_stdout_too(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--json"]) == 1
    shown = capsys.readouterr()
    error = json.loads(shown.out)["error"]
    assert shown.err.startswith(error["code"])
    assert {"code", "where", "what", "why", "do"} == set(error["problems"][0])


def test_the_unforeseen_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things, postgresql://u:hunter2@h/d")

    monkeypatch.setattr("reconciler.cli.plan.with_ports", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(["plan", "dev"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("INTERNAL-001")
    assert "ZeroDivisionError: of all things" in shown.err
    assert "Traceback" not in shown.out + shown.err
    (kept,) = tmp_path.glob("sluice-crash-*.txt")
    assert str(kept) in shown.err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "Traceback" in kept.read_text()
    assert "hunter2" not in kept.read_text() + shown.err


def test_a_crash_writes_to_no_name_that_another_user_can_foresee(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "sluice-crash.txt").symlink_to(victim)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("reconciler.cli.plan.with_ports", lambda *_: 1 / 0)
    assert run(["plan", "dev"]) == 1
    assert run(["plan", "dev"]) == 1
    assert victim.read_text() == "untouched"
    assert len(list(tmp_path.glob("sluice-crash-*.txt"))) == 2


def on_a_terminal(**environ: str) -> bytes:
    """Return what `sluice status` writes to a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "reconciler.cli.main", "status", "dev"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "TERM": "xterm-256color", **environ}
    try:
        subprocess.run(command, env=variables, stdout=theirs, stderr=theirs, check=True, timeout=120)
        return os.read(ours, 1 << 16)
    finally:
        os.close(theirs)
        os.close(ours)


def test_a_terminal_gets_styles_and_can_refuse_them() -> None:
    assert b"\x1b[" in on_a_terminal()
    assert b"\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert b"\x1b[" not in on_a_terminal(CI="true")
    assert b"chat" in on_a_terminal(CI="true")


def test_a_pipe_gets_no_styles() -> None:
    command = [sys.executable, "-m", "reconciler.cli.main", "status", "dev"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "TERM": "xterm-256color"}
    piped = subprocess.run(command, env=variables, capture_output=True, check=True, timeout=120).stdout
    assert b"chat" in piped
    assert b"\x1b" not in piped
