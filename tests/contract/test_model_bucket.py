"""Copies of models in a bucket, over HTTP to a server that speaks S3: whole or not to be seen, and sent once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.core.model.release import Artifact
from reconciler.ports import Pushed
from reconciler.registries import s3_api
from reconciler.registries.model_bucket import S3ModelBucket
from reconciler.registries.select import registry_for
from tests.support.servers.doubles import model_folder
from tests.support.servers.s3_server import keys, running_s3, s3_client

BUCKET = "models"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a client of a server with one empty bucket."""
    with running_s3(monkeypatch):
        client = s3_client()
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model of three files, one of them below another folder."""
    found = model_folder(tmp_path, "m")
    (found / "sub").mkdir()
    (found / "sub" / "merges.txt").write_text("a b")
    return found


async def artifact(folder: Path) -> Artifact:
    registry = registry_for(RegistrySpec(), folder.parent, folder.parent / ".sluice")
    return (await registry.resolve(parse_ref(f"file:{folder.name}"), kind="model")).artifact


def bucket(folder: Path, prefix: str = "by-digest") -> S3ModelBucket:
    return S3ModelBucket(f"s3://{BUCKET}/{prefix}", folder.parent / "digests.json")


async def push(folder: Path, *, told: Any = lambda name, sent: None, prefix: str = "by-digest") -> Pushed:
    return await bucket(folder, prefix).push(await artifact(folder), folder, told=told)


async def test_a_model_is_copied_below_its_digest_and_its_manifest_says_what_lies_there(s3: Any, folder: Path) -> None:
    wanted = await artifact(folder)
    assert await bucket(folder).manifest(wanted.digest) is None
    told: list[str] = []
    found = await push(folder, told=lambda name, sent: told.append(name))
    mark = wanted.digest.removeprefix("sha256:")
    assert found.address == f"s3://{BUCKET}/by-digest/{mark}/"
    assert (found.files, found.sent_files) == (3, 3)
    names = ["config.json", "model.safetensors", "sub/merges.txt"]
    assert keys(BUCKET) == [f"by-digest/{mark}.json", *(f"by-digest/{mark}/{name}" for name in names)]
    assert set(told) == set(names)
    manifest = await bucket(folder).manifest(wanted.digest)
    assert manifest is not None
    assert [file.name for file in manifest.files] == names
    assert manifest.digest == wanted.digest
    for file in manifest.files:
        body = s3.get_object(Bucket=BUCKET, Key=f"by-digest/{mark}/{file.name}")["Body"].read()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (file.size, file.sha256)


async def test_what_is_there_is_not_sent_again_and_what_differs_is(s3: Any, folder: Path) -> None:
    await push(folder, prefix="")
    mark = (await artifact(folder)).digest.removeprefix("sha256:")
    assert (await push(folder, prefix="")).sent_files == 0
    there = s3.get_object(Bucket=BUCKET, Key=f"{mark}/config.json")["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=f"{mark}/config.json", Body=there[::-1])
    again = await push(folder, prefix="")
    assert (again.files, again.sent_files, again.sent_bytes) == (3, 1, len(there))
    assert s3.get_object(Bucket=BUCKET, Key=f"{mark}/config.json")["Body"].read() == there


async def test_a_push_that_breaks_off_shows_nothing_and_the_next_one_goes_on(
    s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = s3_api.upload

    def breaks(client: Any, file: Path, *rest: Any) -> None:
        if file.name == "merges.txt":
            raise ConnectionResetError("the machine went away")
        upload(client, file, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("reconciler.registries.model_bucket.upload", breaks)
        with pytest.raises(ConnectionResetError):
            await push(folder)
    assert len(keys(BUCKET)) == 2
    assert await bucket(folder).manifest((await artifact(folder)).digest) is None
    found = await push(folder)
    assert (found.files, found.sent_files) == (3, 1)
    assert await bucket(folder).manifest((await artifact(folder)).digest) is not None


async def test_what_comes_to_lie_there_otherwise_gets_no_manifest(
    s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else writes to the key between the copy and the look at it."""
    upload = s3_api.upload

    def meddle(client: Any, file: Path, name: str, key: str, told: Any) -> None:
        upload(client, file, name, key, told)
        s3.put_object(Bucket=name, Key=key, Body=b"?" * file.stat().st_size, ChecksumAlgorithm="SHA256")

    monkeypatch.setattr("reconciler.registries.model_bucket.upload", meddle)
    with pytest.raises(SluiceError) as refused:
        await push(folder)
    assert refused.value.code == "REG-008"
    assert not [key for key in keys(BUCKET) if key.count("/") == 1]


async def test_a_large_file_goes_in_parts_and_is_verified_by_them(
    s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 takes no part below 5 MiB but the last."""
    monkeypatch.setattr(s3_api, "PART_BYTES", 5 << 20)
    (folder / "large.txt").write_bytes(bytes(range(256)) * (44 << 10))
    assert (await push(folder)).sent_files == 4
    mark = (await artifact(folder)).digest.removeprefix("sha256:")
    found = s3.head_object(Bucket=BUCKET, Key=f"by-digest/{mark}/large.txt", PartNumber=1)
    assert found["PartsCount"] == 3
    assert (await push(folder)).sent_files == 0


def test_the_checksum_of_parts_is_the_one_that_s3_documents(tmp_path: Path) -> None:
    import base64

    file = tmp_path / "f"
    file.write_bytes(b"aaaabbbbcc")
    parts = b"".join(hashlib.sha256(part).digest() for part in (b"aaaa", b"bbbb", b"cc"))
    wanted = base64.b64encode(hashlib.sha256(parts).digest()).decode() + "-3"
    assert s3_api.composite_sha256(file, 4) == wanted
    file.write_bytes(b"aaaabbbb")
    assert s3_api.composite_sha256(file, 4).endswith("-2")


async def test_a_folder_that_changed_since_it_was_resolved_is_not_sent(s3: Any, folder: Path) -> None:
    known = await artifact(folder)
    (folder / "config.json").write_text('{"model_type": "llama", "note": "another"}')
    with pytest.raises(SluiceError, match="REG-006"):
        await bucket(folder).push(known, folder, told=lambda name, sent: None)
    assert keys(BUCKET) == []


async def test_a_damaged_manifest_says_nothing_and_is_written_again(s3: Any, folder: Path) -> None:
    await push(folder)
    digest = (await artifact(folder)).digest
    key = f"by-digest/{digest.removeprefix('sha256:')}.json"
    text = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    for damage in (b"", b"[]", text[:-9], text.replace(b"config.json", b"konfig.json")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=damage)
        assert await bucket(folder).manifest(digest) is None
    await push(folder)
    assert await bucket(folder).manifest(digest) is not None


async def test_a_bucket_that_is_not_there_is_named(s3: Any, folder: Path) -> None:
    nowhere = S3ModelBucket("s3://nowhere/x", folder.parent / "digests.json")
    for work in (nowhere.manifest("sha256:00"), nowhere.push(await artifact(folder), folder, told=lambda n, s: None)):
        with pytest.raises(SluiceError) as refused:
            await work
        assert refused.value.code == "REG-003"
        assert "nowhere" in str(refused.value)
        assert "NoSuchBucket" in str(refused.value) or "404" in str(refused.value)


async def test_without_credentials_it_says_to_log_in(s3: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    with pytest.raises(SluiceError, match="REG-003") as refused:
        await bucket(folder).manifest("sha256:00")
    assert "log in" in refused.value.problem.do


async def test_the_same_content_from_elsewhere_has_the_same_place(s3: Any, folder: Path) -> None:
    await push(folder)
    copy = shutil.copytree(folder, folder.parent / "copy")
    assert (await push(Path(copy))).sent_files == 0
