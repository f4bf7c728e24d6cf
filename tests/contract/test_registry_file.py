"""The registry of files: a digest that stands for the content, and a refusal of everything that must not be served."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from environments.errors import SluiceError
from environments.refs import parse_ref
from environments.spec import RegistrySpec
from reconciler.core.model.release import Lineage
from reconciler.ports import Resolved
from reconciler.registries import digests
from reconciler.registries.digests import DigestCache
from reconciler.registries.select import registry_for
from tests.support.servers.doubles import model_folder


async def resolve(root: Path, ref: str, kind: str = "model") -> Resolved:
    return await registry_for(RegistrySpec(), root, root / ".sluice").resolve(parse_ref(ref), kind=kind)


async def refused(root: Path, ref: str, kind: str = "model") -> SluiceError:
    with pytest.raises(SluiceError) as error:
        await resolve(root, ref, kind)
    assert error.value.problem.where == ref
    assert error.value.problem.do
    return error.value


async def test_a_digest_stands_for_names_and_content(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    (folder / "sub").mkdir()
    (folder / "sub" / "merges.txt").write_text("a b")
    found = await resolve(tmp_path, "file:m")
    assert found.artifact.ref == "file:m"
    assert found.artifact.digest.startswith("sha256:")
    assert (found.lineage, found.text) == (Lineage(source="file:m"), None)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / ".DS_Store").write_text("noise")
    same = [await resolve(tmp_path, ref) for ref in ("file:copy", f"file:{folder}")]
    assert {s.artifact.digest for s in same} == {found.artifact.digest}
    (folder / "sub" / "merges.txt").rename(folder / "sub" / "other.txt")
    renamed = (await resolve(tmp_path, "file:m")).artifact.digest
    (folder / "sub" / "other.txt").write_text("a c")
    changed = (await resolve(tmp_path, "file:m")).artifact.digest
    assert len({found.artifact.digest, renamed, changed}) == 3


async def test_what_is_known_of_a_folder_is_the_same_on_every_machine(tmp_path: Path) -> None:
    """Or a plan that was made in CI would have another digest where it is applied."""
    for machine in ("ci", "laptop"):
        model_folder(tmp_path / machine, "m")
    assert await resolve(tmp_path / "ci", "file:m") == await resolve(tmp_path / "laptop", "file:m")


async def test_a_prompt_has_its_text(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Be kind — “always”.\n")
    found = await resolve(tmp_path, "file:p.txt", "prompt")
    assert found.text == "Be kind — “always”.\n"
    assert found.artifact.digest == f"sha256:{DigestCache(tmp_path / 'c').sha256(tmp_path / 'p.txt')}"
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\xe9")
    (tmp_path / "folder").mkdir()
    assert (await refused(tmp_path, "file:latin.txt", "prompt")).code == "REG-001"
    assert (await refused(tmp_path, "file:folder", "prompt")).code == "REG-001"


async def test_what_is_not_there_is_told_with_its_neighbours(tmp_path: Path) -> None:
    model_folder(tmp_path, "models/chat-v1")
    error = await refused(tmp_path, "file:models/chat-v2")
    assert error.code == "REG-001"
    assert "chat-v1" in error.problem.why
    assert "not there either" in (await refused(tmp_path, "file:nowhere/x")).problem.why


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "sub/x.pt", "X.PTH", "a.ckpt", "a.pkl", "training_args.bin", "scaler.joblib"]
)
async def test_pickled_weights_are_refused(name: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x80\x04.")
    error = await refused(tmp_path, "file:m")
    assert error.code == "REG-002"
    assert name in error.problem.what


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95pickle", (50).to_bytes(8, "little") + b"{}", b"\xff" * 64])
async def test_a_renamed_pickle_is_refused(content: bytes, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    (folder / "model.safetensors").write_bytes(content)
    error = await refused(tmp_path, "file:m")
    assert (error.code, "not a safetensors file" in error.problem.what) == ("REG-002", True)


@pytest.mark.parametrize(("gone", "said"), [("config.json", "config.json"), ("model.safetensors", "a .safetensors")])
async def test_half_a_model_is_refused(gone: str, said: str, tmp_path: Path) -> None:
    (model_folder(tmp_path, "m") / gone).unlink()
    error = await refused(tmp_path, "file:m")
    assert (error.code, said in error.problem.what) == ("REG-002", True)


async def test_an_adapter_needs_its_own_configuration(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    assert (await refused(tmp_path, "file:m", "adapter")).code == "REG-002"
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert (await resolve(tmp_path, "file:m", "adapter")).artifact.digest
    (tmp_path / "one.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert (await refused(tmp_path, "file:one.safetensors")).code == "REG-002"


async def test_links_stay_inside(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    before = (await resolve(tmp_path, "file:m")).artifact.digest
    (folder / "again.json").symlink_to("config.json")
    assert (await resolve(tmp_path, "file:m")).artifact.digest != before
    (tmp_path / "secret.txt").write_text("x")
    for name, target in [("out.txt", "../secret.txt"), ("dir", ".."), ("gone", "nothing"), ("self", ".")]:
        (folder / name).symlink_to(target)
        error = await refused(tmp_path, "file:m")
        assert (error.code, name in error.problem.what) == ("REG-002", True)
        (folder / name).unlink()


async def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path, "m")
    monkeypatch.setattr(digests, "_SETTLED_NS", -(10**18))
    first = await resolve(tmp_path, "file:m")
    read: list[Path] = []
    true_sha = digests._sha256

    def counted(path: Path) -> str:
        read.append(path)
        return true_sha(path)

    monkeypatch.setattr(digests, "_sha256", counted)
    assert await resolve(tmp_path, "file:m") == first
    assert read == []
    stat = (folder / "config.json").stat()
    (folder / "config.json").write_text((folder / "config.json").read_text().replace("1", "2"))
    os.utime(folder / "config.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (await resolve(tmp_path, "file:m")).artifact.digest != first.artifact.digest
    assert read == [folder / "config.json"]


async def test_a_file_that_may_still_change_is_not_remembered(tmp_path: Path) -> None:
    model_folder(tmp_path, "m")
    await resolve(tmp_path, "file:m")
    assert not (tmp_path / ".sluice" / "cache" / "digests.json").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "\x00"])
async def test_a_damaged_cache_costs_only_time(content: str, tmp_path: Path) -> None:
    model_folder(tmp_path, "m")
    (tmp_path / ".sluice" / "cache").mkdir(parents=True)
    before = await resolve(tmp_path, "file:m")
    (tmp_path / ".sluice" / "cache" / "digests.json").write_text(content)
    assert await resolve(tmp_path, "file:m") == before


async def test_a_reference_to_a_server_that_is_not_declared_is_told(tmp_path: Path) -> None:
    assert (await refused(tmp_path, "mlflow:chat/1")).code == "REG-005"


async def test_files_have_no_aliases(tmp_path: Path) -> None:
    registry = registry_for(RegistrySpec(), tmp_path, tmp_path)
    assert await registry.mark(parse_ref("file:m"), "champion", kind="model") is None
    await registry.unmark(parse_ref("file:m"), "champion")
