"""State on disk: replaced whole, read back equal, damaged files told with a code."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.platforms.local import state
from reconciler.platforms.local.fences import check_fence
from reconciler.platforms.local.state import Layout, SlotRecord

ADDRESS = Address("test", "local", "chat")
RELEASE = Release(
    "chat",
    "vllm",
    Artifact("file:m", "sha256:m"),
    engine={"max_model_len": 2048},
    prompts={"system": Artifact("file:p", "sha256:p")},
    lineage={"model": Lineage(source="file:m", datasets=("d",))},
    prompt_texts={"system": "Be kind."},
)


def test_a_record_is_read_back_equal(tmp_path: Path) -> None:
    record = SlotRecord(RELEASE, 20001, "/models/m", warm="1:2", stopping=True)
    state.write_slot(tmp_path, record)
    found = state.read_slot(tmp_path, "here")
    assert found == record
    assert found is not None
    assert (found.release.lineage, found.release.prompt_texts) == (RELEASE.lineage, RELEASE.prompt_texts)
    assert state.read_slot(tmp_path / "empty", "here") is None


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It had no folder of its own, and one of this machine in the release's lineage."""
    state.write_slot(tmp_path, SlotRecord(RELEASE, 20001, "/models/m"))
    old = json.loads((tmp_path / "slot.json").read_text())
    del old["model_path"]
    old["release"]["lineage"]["model"]["path"] = "/models/m"
    (tmp_path / "slot.json").write_text(json.dumps(old))
    found = state.read_slot(tmp_path, "here")
    assert found == SlotRecord(RELEASE, 20001)
    assert found is not None
    assert found.release.lineage == RELEASE.lineage


def test_what_slots_were_started_with_is_known_over_all_environments(tmp_path: Path) -> None:
    adapted = replace(RELEASE, adapters={"acme": Artifact("file:a", "sha256:a")})
    assert state.digests_in_slots(tmp_path) == frozenset()
    state.write_slot(Layout(tmp_path / "dev" / "eu").slot("chat", "a"), SlotRecord(RELEASE, 20001))
    state.write_slot(Layout(tmp_path / "prod" / "us").slot("chat", "b"), SlotRecord(adapted, 20002))
    assert state.digests_in_slots(tmp_path) == frozenset({"sha256:m", "sha256:a"})
    (Layout(tmp_path / "dev" / "eu").slot("chat", "a") / "slot.json").write_text("{")
    assert state.digests_in_slots(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"release": 1}', '{"port": 1}', "\x00\x01", '{"release": {}}']
)
def test_a_damaged_record_is_an_error_with_a_code(tmp_path: Path, text: str) -> None:
    (tmp_path / "slot.json").write_text(text)
    with pytest.raises(SluiceError) as damaged:
        state.read_slot(tmp_path, "test/local/chat/a")
    assert damaged.value.code == "PLAT-002"
    assert damaged.value.problem.where == "test/local/chat/a"


def test_a_changed_release_is_damage(tmp_path: Path) -> None:
    state.write_slot(tmp_path, SlotRecord(RELEASE, 20001))
    path = tmp_path / "slot.json"
    path.write_text(path.read_text().replace("2048", "4096"))
    with pytest.raises(SluiceError, match="PLAT-002"):
        state.read_slot(tmp_path, "here")


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    state.write_json(tmp_path / "x.json", {"old": 1})
    (tmp_path / "x.json.new").mkdir()
    with pytest.raises(SluiceError) as failed:
        state.write_json(tmp_path / "x.json", {"new": 1})
    assert (failed.value.code, failed.value.retryable) == ("PLAT-011", True)
    assert state.read_json(tmp_path / "x.json", "here") == {"old": 1}


def test_a_write_is_on_disk_before_it_takes_the_old_files_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut leaves an empty file under the right name: a slot that serves and that nobody knows."""
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        sync(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        steps.append(f"sync {Path(path).name}" + (f" of {os.path.getsize(path)} bytes" if os.path.isfile(path) else ""))

    def replaced(old: Path, new: Path) -> None:
        steps.append(f"replace {new.name}")
        replace(old, new)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("os.replace", replaced)
    state.write_json(tmp_path / "x.json", {"a": 1})
    size = (tmp_path / "x.json").stat().st_size
    assert steps == [f"sync x.json.new of {size} bytes", "replace x.json", f"sync {tmp_path.name}"]


def test_tokens_never_go_back_and_each_endpoint_has_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for token in (1, 1, 3, 3):
        check_fence(layout, ADDRESS, token)
    with pytest.raises(SluiceError, match="LEASE-002"):
        check_fence(layout, ADDRESS, 2)
    check_fence(layout, Address("test", "local", "other"), 1)
    check_fence(layout, ADDRESS, 3)


async def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    holders = 0

    async def hold() -> None:
        nonlocal holders
        async with state.locked(path, wait_s=60, where="here"):
            holders += 1
            assert holders == 1
            await asyncio.sleep(0)
            holders -= 1

    await asyncio.gather(*(hold() for _ in range(20)))


async def test_a_lock_that_stays_taken_is_an_error_that_may_be_tried_again(tmp_path: Path) -> None:
    async with state.locked(tmp_path / "lock", wait_s=1, where="here"):
        with pytest.raises(SluiceError) as taken:
            async with state.locked(tmp_path / "lock", wait_s=0, where="here"):
                pass
    assert (taken.value.code, taken.value.retryable) == ("PLAT-012", True)


async def test_a_lock_that_was_deleted_while_one_waited_for_it_is_nobodys(tmp_path: Path) -> None:
    """As by `sluice down`, whose work a writer that woke up after it would undo."""
    path = tmp_path / "region" / "lock"
    async with state.locked(path, wait_s=60, where="here"):
        late = asyncio.create_task(state.locked(path, wait_s=60, where="here").__aenter__())
        await asyncio.sleep(0.02)  # it waits now
        path.unlink()
    with pytest.raises(SluiceError) as gone:
        await late
    assert gone.value.code == "PLAT-012"
    async with state.locked(path, wait_s=60, where="here"):
        assert path.exists()


def test_a_folder_that_cannot_be_read_is_an_error_with_a_code(tmp_path: Path) -> None:
    (tmp_path / "endpoints").write_text("in the way")
    with pytest.raises(SluiceError, match="PLAT-001"):
        Layout(tmp_path).endpoints()


def test_only_endpoints_with_something_in_a_slot_are_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.endpoints() == ()
    layout.slot("chat", "a").mkdir(parents=True)
    (tmp_path / "endpoints" / "locks-only").mkdir()
    assert layout.endpoints() == ("chat",)
