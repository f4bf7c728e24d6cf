"""The registry of `s3:` references, over HTTP to a server that speaks S3: versions and days, not what is there now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.registries import s3 as module
from reconciler.registries.s3 import as_of, day_of
from reconciler.registries.select import Registries, registry_for
from tests.support.servers.doubles import model_folder
from tests.support.servers.s3_server import running_s3, s3_client

BUCKET, TODAY = "kept", datetime.now(UTC).date().isoformat()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of a server with one bucket that keeps versions."""
    with running_s3(monkeypatch):
        client = s3_client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the day that is today be over."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: time.time() + 86400))


def registry(home: Path) -> Registries:
    return registry_for(RegistrySpec(), home, home / ".sluice")


def put(s3: Any, source: Path, prefix: str) -> None:
    for path in sorted(source.rglob("*")):
        if path.is_file():
            s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.relative_to(source)}", Body=path.read_bytes())


async def refused(home: Path, ref: str, kind: str = "model") -> SluiceError:
    with pytest.raises(SluiceError) as error:
        await registry(home).resolve(parse_ref(ref), kind=kind)
    assert error.value.problem.do
    return error.value


async def test_a_folder_of_a_day_is_the_model_that_the_same_files_are(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    source = model_folder(tmp_path, "m")
    put(s3, source, "chat")
    s3.put_object(Bucket=BUCKET, Key="chat/.cache/noise", Body=b"noise")
    s3.put_object(Bucket=BUCKET, Key="chat-two/config.json", Body=b"another model, whose name begins like ours")
    ref = f"s3://{BUCKET}/chat@{TODAY}"
    found = await registry(tmp_path).resolve(parse_ref(ref), kind="model")
    same = await registry(tmp_path).resolve(parse_ref("file:m"), kind="model")
    assert found.artifact.digest == same.artifact.digest
    assert found.lineage.facts == same.lineage.facts is not None, "policies know as much of it"
    assert found.lineage.size == same.lineage.size is not None, "and so does the estimate of memory"
    folder = await registry(tmp_path).folder(found.artifact, kind="model")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


async def test_what_was_downloaded_is_not_asked_for_again(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    put(s3, model_folder(tmp_path, "m"), "chat")
    ref = parse_ref(f"s3://{BUCKET}/chat@{TODAY}")
    first = await registry(tmp_path).resolve(ref, kind="model")
    for key in ("chat/config.json", "chat/model.safetensors"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert await registry(tmp_path).resolve(ref, kind="model") == first


async def test_a_copy_that_was_changed_is_refused(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    put(s3, model_folder(tmp_path, "m"), "chat")
    ref = f"s3://{BUCKET}/chat@{TODAY}"
    found = await registry(tmp_path).resolve(parse_ref(ref), kind="model")
    config = await registry(tmp_path).folder(found.artifact, kind="model") / "config.json"
    config.chmod(0o644)
    config.write_text("{}")
    assert (await refused(tmp_path, ref)).code == "REG-002"


async def test_a_day_that_is_not_over_pins_nothing(s3: Any, tmp_path: Path) -> None:
    put(s3, model_folder(tmp_path, "m"), "chat")
    error = await refused(tmp_path, f"s3://{BUCKET}/chat@{TODAY}")
    assert (error.code, "not over" in error.problem.why) == ("REG-001", True)


async def test_a_bucket_without_versions_pins_nothing(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    s3.create_bucket(Bucket="loose")
    s3.put_object(Bucket="loose", Key="chat/config.json", Body=b"{}")
    error = await refused(tmp_path, f"s3://loose/chat@{TODAY}")
    assert (error.code, "versioning" in error.problem.do) == ("REG-001", True)


async def test_one_version_of_an_object_stays_what_it_was(s3: Any, tmp_path: Path) -> None:
    old = s3.put_object(Bucket=BUCKET, Key="prompts/system.txt", Body=b"Be kind.")["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="prompts/system.txt", Body=b"Be rude.")
    found = await registry(tmp_path).resolve(parse_ref(f"s3://{BUCKET}/prompts/system.txt@{old}"), kind="prompt")
    assert found.text == "Be kind."
    assert (await refused(tmp_path, f"s3://{BUCKET}/prompts/system.txt@{old}", "model")).code == "REG-002"


async def test_an_index_is_known_by_its_versions_and_not_downloaded(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    s3.put_object(Bucket=BUCKET, Key="kb/index.bin", Body=b"x" * 1000)
    ref = parse_ref(f"s3://{BUCKET}/kb@{TODAY}")
    first = await registry(tmp_path).resolve(ref, kind="index")
    assert first.artifact.digest.startswith("sha256:")
    assert not list((tmp_path / ".sluice").rglob("index.bin"))
    s3.put_object(Bucket=BUCKET, Key="kb/index.bin", Body=b"y" * 1000)
    assert await registry(tmp_path).resolve(ref, kind="index") != first


@pytest.mark.parametrize(("ref", "code"), [("s3://nowhere/x@v1", "REG-0"), (f"s3://{BUCKET}/none@v1", "REG-001")])
async def test_what_is_not_there_is_named(s3: Any, tmp_path: Path, ref: str, code: str) -> None:
    assert (await refused(tmp_path, ref)).code.startswith(code)


async def test_a_name_that_leads_out_is_refused(s3: Any, tmp_path: Path, tomorrow: None) -> None:
    put(s3, model_folder(tmp_path, "m"), "chat")
    s3.put_object(Bucket=BUCKET, Key="chat/sub/../../../config.json", Body=b"{}")
    assert (await refused(tmp_path, f"s3://{BUCKET}/chat@{TODAY}")).code == "REG-002"


def row(key: str, hour: int, version: str) -> dict[str, Any]:
    at = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(hours=hour)
    return {"Key": key, "LastModified": at, "VersionId": version}


def test_a_day_ends_with_the_newest_versions_before_its_end_that_were_not_deleted() -> None:
    until = day_of("2026-11-20")
    assert until == datetime(2026, 11, 21, tzinfo=UTC)
    rows = [row("a", 1, "a1"), row("a", 5, "a2"), row("a", 25, "a3"), row("b", 2, "b1"), row("c", 30, "c1")]
    rows += [row("d", 1, "d1"), row("d", 6, "d2")]
    markers = [row("b", 3, "gone"), row("d", 4, "gone"), row("a", 26, "gone")]
    assert [found["VersionId"] for found in as_of(until, rows, markers)] == ["a2", "d2"]
    assert day_of("Jx81mPzW4d") is None
