"""Copies by digest: what was hashed is what is given, whatever happens to its source, and old ones go."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact
from reconciler.registries import copies
from reconciler.registries.copies import KEPT, Copies
from reconciler.registries.digests import DigestCache, content_digest
from tests.support.servers.doubles import model_folder


@pytest.fixture
def store(tmp_path: Path) -> Copies:
    """Return a store without copies."""
    return Copies(tmp_path / "artifacts", tmp_path / "digests.json")


def artifact(source: Path) -> Artifact:
    ref = f"file:{source.name}"
    return Artifact(ref, content_digest(source, DigestCache(source.parent / "d.json"), ref=ref, kind="model"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def take(store: Copies, wanted: Artifact, source: Path) -> Path:
    return store.take(wanted, source, kind="model")


def made(tmp_path: Path, word: str) -> tuple[Artifact, Path]:
    source = model_folder(tmp_path, word, content=word)
    return artifact(source), source


def used_before(copy: Path, hours: float) -> None:
    lock = copy.with_name(f"{copy.name}.lock")
    then = lock.stat().st_mtime - hours * 3600
    os.utime(lock, (then, then))


def test_a_copy_is_whole_and_nobody_writes_to_it(store: Copies, tmp_path: Path) -> None:
    wanted, source = made(tmp_path, "m")
    (source / "sub").mkdir()
    (source / "sub" / "merges.txt").write_text("a b")
    (source / "linked.txt").symlink_to("sub/merges.txt")
    wanted = artifact(source)
    (source / ".git").mkdir()
    copy = take(store, wanted, source)
    assert contents(copy) == contents(source)
    assert not (copy / "linked.txt").is_symlink()
    assert not [p for p in copy.rglob("*") if p.is_file() and p.stat().st_mode & 0o222]


@pytest.mark.parametrize("change", ["written over in place", "replaced", "deleted"])
def test_a_copy_stays_what_it_was(store: Copies, tmp_path: Path, change: str) -> None:
    wanted, source = made(tmp_path, "m")
    copy = take(store, wanted, source)
    before = contents(copy)
    match change:
        case "written over in place":
            (source / "config.json").write_text('{"other": 1}')
        case "replaced":
            shutil.rmtree(source)
            model_folder(tmp_path, "m", content="other")
        case _:
            shutil.rmtree(source)
    assert take(store, wanted, source) == copy
    assert contents(copy) == before


@pytest.mark.parametrize("gone", [True, False])
def test_content_that_is_nowhere_is_an_error_and_leaves_nothing(store: Copies, tmp_path: Path, gone: bool) -> None:
    wanted, source = made(tmp_path, "m")
    shutil.rmtree(source)
    if not gone:
        model_folder(tmp_path, "m", content="other")
    with pytest.raises(SluiceError) as refused:
        take(store, wanted, source)
    assert refused.value.code == "REG-006"
    assert refused.value.problem.do
    assert [p.name for p in (tmp_path / "artifacts").iterdir() if p.is_dir()] == []


def test_a_source_that_changes_while_it_is_copied_is_found_out(
    store: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, source = made(tmp_path, "m")
    copied = copies._copy_file

    def overtaken(old: Path, new: Path) -> None:
        (source / "config.json").write_text('{"other": 1}')
        copied(old, new)

    monkeypatch.setattr(copies, "_copy_file", overtaken)
    with pytest.raises(SluiceError, match="REG-006"):
        take(store, wanted, source)


def test_a_copy_that_somebody_changed_is_made_anew(store: Copies, tmp_path: Path) -> None:
    wanted, source = made(tmp_path, "m")
    copy = take(store, wanted, source)
    (copy / "config.json").chmod(0o644)
    (copy / "config.json").write_text("{}")
    assert contents(take(store, wanted, source)) == contents(source)
    (copy / "model.safetensors").unlink()
    shutil.rmtree(source)
    with pytest.raises(SluiceError, match="REG-006"):
        take(store, wanted, source)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_share_blocks_copies_bytes(
    store: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cannot(*_: object) -> int:
        raise OSError(number, "not here")

    monkeypatch.setattr("os.copy_file_range", cannot)
    wanted, source = made(tmp_path, "m")
    assert contents(take(store, wanted, source)) == contents(source)


def test_a_full_disk_is_an_error_that_may_be_tried_again(
    store: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("os.copy_file_range", full)
    wanted, source = made(tmp_path, "m")
    with pytest.raises(SluiceError) as failed:
        take(store, wanted, source)
    assert (failed.value.code, failed.value.retryable) == ("REG-003", True)
    assert [p.name for p in (tmp_path / "artifacts").iterdir() if p.is_dir()] == []


def test_many_at_once_make_one_copy(store: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, source = made(tmp_path, "m")
    counted, lock, copied = [0], threading.Lock(), copies._copy_file

    def counting(old: Path, new: Path) -> None:
        with lock:
            counted[0] += 1
        copied(old, new)

    monkeypatch.setattr(copies, "_copy_file", counting)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: take(store, wanted, source), range(8)))
    assert len(found) == 1
    assert counted[0] == len(contents(source))


def test_copies_that_nobody_needs_go_but_for_some_that_were_used_last(store: Copies, tmp_path: Path) -> None:
    words = [f"m{n}" for n in range(KEPT + 3)]
    taken = {word: (wanted, take(store, wanted, source)) for word in words for wanted, source in [made(tmp_path, word)]}
    for hours, word in enumerate(words):
        used_before(taken[word][1], 2 + hours)
    store.keep({taken[words[-1]][0].digest})
    left = [word for word in words if taken[word][1].is_dir()]
    assert left == [*words[:KEPT], words[-1]]


def test_a_copy_that_was_just_asked_for_is_never_deleted(store: Copies, tmp_path: Path) -> None:
    """Whoever asked for it starts a server from it, and nobody knows of that server yet."""
    taken = [take(store, *made(tmp_path, f"m{n}")) for n in range(KEPT + 3)]
    store.keep(set())
    assert all(copy.is_dir() for copy in taken)
