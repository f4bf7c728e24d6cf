"""The builder of the engines: what it says where Go is missing, and that it never builds twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builds import build
from tests.builds.catalog import ENGINES, engine


@pytest.fixture
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of engines on a machine without Go."""
    monkeypatch.setenv("SLUICE_ENGINES", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


def test_without_go_it_says_what_is_missing(nothing_built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["etcd", "kwok"]) == 0
    said = capsys.readouterr().err
    assert "MISSING: etcd, kwok" in said
    assert "install Go" in said


def test_without_go_ci_fails(nothing_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert build.main([]) == 1


def test_an_unknown_engine_is_an_error(nothing_built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["etdc"]) == 1
    assert "known: pulumi" in capsys.readouterr().err


def test_a_changed_module_file_is_built_again(nothing_built: Path) -> None:
    etcd = engine("etcd")
    (nothing_built / "bin").mkdir()
    (nothing_built / "bin" / "etcd").touch()
    (nothing_built / "stamp").mkdir()
    stamp = nothing_built / "stamp" / "etcd"

    stamp.write_text(build.fingerprint(etcd))
    assert build.is_built(etcd)
    stamp.write_text("of other module files")
    assert not build.is_built(etcd)


def test_every_module_has_its_sums() -> None:
    for wanted in ENGINES:
        assert (wanted.folder / "go.sum").stat().st_size > 0
