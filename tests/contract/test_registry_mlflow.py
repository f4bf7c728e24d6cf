"""The registry of MLflow, against a real tracking server that serves its own artifacts."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.refs import MlflowRef, parse_ref
from environments.spec import RegistrySpec
from reconciler.registries import artifacts
from reconciler.registries.file import FileRegistry
from reconciler.registries.mlflow import MlflowRegistry
from reconciler.registries.mlflow_api import MlflowApi
from reconciler.registries.select import Registries, registry_for
from tests.support.servers.doubles import model_folder
from tests.support.servers.http_stub import Answer, Asked, http_stub

pytestmark = [pytest.mark.engine, pytest.mark.slow]
_numbers = itertools.count()


@pytest.fixture
def client(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return MLflow's own client, with which a user registers things."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_url)
    mlflow.set_tracking_uri(mlflow_url)
    return mlflow.MlflowClient(mlflow_url)


def registry(mlflow_url: str, home: Path) -> Registries:
    return registry_for(RegistrySpec(mlflow=mlflow_url), home, home)


def new_name(kind: str) -> str:
    return f"{kind}-{next(_numbers)}"


def register_model(client: Any, folder: Path, name: str) -> MlflowRef:
    """Log a folder to a run with a dataset, and register it as the next version of `name`."""
    from mlflow.entities import Dataset, DatasetInput
    from mlflow.exceptions import MlflowException

    run = client.create_run("0")
    client.log_inputs(run.info.run_id, [DatasetInput(Dataset("tickets", "ab12", "local", "x"), [])])
    client.log_artifacts(run.info.run_id, str(folder), "model")
    try:
        client.create_registered_model(name)
    except MlflowException:
        assert client.get_registered_model(name)
    version = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    return MlflowRef(name, int(version.version))


def damage(file: Path, content: str) -> None:
    assert file.exists()
    file.chmod(0o644)
    file.write_text(content)


def copies_in(home: Path) -> list[Path]:
    return sorted(path for path in (home / "cache" / "models").iterdir() if path.is_dir())


def copy_of(home: Path) -> Path:
    (copy,) = copies_in(home)
    return copy


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


async def test_a_version_has_the_digest_of_its_files(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "m")
    (folder / "sub dir").mkdir()
    (folder / "sub dir" / "größe 1.txt").write_text("x")
    (folder / "empty.txt").write_text("")
    ref = register_model(client, folder, new_name("chat"))
    found = await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model")
    local = await FileRegistry(tmp_path, tmp_path).resolve(parse_ref("file:m"), kind="model")
    assert (found.artifact.ref, found.artifact.digest) == (str(ref), local.artifact.digest)
    version = client.get_model_version(ref.name, str(ref.version))
    assert (found.lineage.run_id, found.lineage.source) == (version.run_id, version.source)
    assert found.lineage.datasets == ("tickets@ab12",)
    assert names_in(copy_of(tmp_path / "home")) == names_in(folder)


async def test_a_version_may_name_its_run_or_its_logged_model(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    folder, name = model_folder(tmp_path, "m"), new_name("chat")
    first = register_model(client, folder, name)
    run_id = client.get_model_version(name, str(first.version)).run_id
    by_run = client.create_model_version(name, f"runs:/{run_id}/model", run_id)
    logged = client.create_logged_model("0", "logged")
    client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    by_model = client.create_model_version(name, f"models:/{logged.model_id}", model_id=logged.model_id)
    refs = [first, *(MlflowRef(name, int(version.version)) for version in (by_run, by_model))]
    found = [await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model") for ref in refs]
    assert len({f.artifact.digest for f in found}) == 1
    assert len(copies_in(tmp_path / "home")) == 3
    assert found[1].lineage.datasets == ("tickets@ab12",)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"digest": 1'])
async def test_a_damaged_note_beside_a_copy_is_made_again(
    content: str, client: Any, mlflow_url: str, tmp_path: Path
) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    first = await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model")
    copy = copy_of(tmp_path / "home")
    damage(copy.with_name(f"{copy.name}.json"), content)
    assert await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model") == first


async def test_files_are_downloaded_once(
    client: Any, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    downloads: list[str] = []
    true_download = MlflowApi.download

    def counted(self: MlflowApi, path: str, where: str) -> Any:
        downloads.append(path)
        return true_download(self, path, where)

    monkeypatch.setattr(MlflowApi, "download", counted)
    home = tmp_path / "home"
    several = await asyncio.gather(*(registry(mlflow_url, home).resolve(ref, kind="model") for _ in range(4)))
    assert len({found.artifact for found in several}) == 1
    assert len(downloads) == 2
    assert await registry(mlflow_url, home).resolve(ref, kind="model") == several[0]
    assert len(downloads) == 2


async def test_a_copy_that_was_cut_off_is_begun_again(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    home = tmp_path / "home"
    first = await registry(mlflow_url, home).resolve(ref, kind="model")
    copy = copy_of(home)
    cut = Path(shutil.move(copy, copy.with_name(f"{copy.name}.part")))
    damage(cut / "model.safetensors", "cut")
    assert await registry(mlflow_url, home).resolve(ref, kind="model") == first
    copy.with_name(f"{copy.name}.json").unlink()
    assert await registry(mlflow_url, home).resolve(ref, kind="model") == first


async def test_a_copy_that_was_changed_is_refused(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    found = await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model")
    copy = copy_of(tmp_path / "home")
    damage(copy / "config.json", "{}")
    with pytest.raises(SluiceError, match="REG-002") as refused:
        await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model")
    assert "changed since" in refused.value.problem.why
    shutil.rmtree(copy)
    assert await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model") == found


async def test_pickled_weights_are_refused_before_they_are_downloaded(
    client: Any, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(tmp_path, "m")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    ref = register_model(client, folder, new_name("chat"))
    monkeypatch.setattr(MlflowApi, "download", None)
    with pytest.raises(SluiceError, match=r"REG-002[\s\S]*pytorch_model.bin"):
        await registry(mlflow_url, tmp_path / "home").resolve(ref, kind="model")


async def test_prompts_have_their_text(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    name = new_name("system")
    for text in ("Be kind.", "Be kind to {{name}} — “always”.\n"):
        client.register_prompt(name, text)
    both = [await registry(mlflow_url, tmp_path).resolve(MlflowRef(name, n), kind="prompt") for n in (1, 2)]
    assert [found.text for found in both] == ["Be kind.", "Be kind to {{name}} — “always”.\n"]
    (tmp_path / "p.txt").write_text("Be kind.")
    local = await FileRegistry(tmp_path, tmp_path).resolve(parse_ref("file:p.txt"), kind="prompt")
    assert both[0].artifact.digest == local.artifact.digest != both[1].artifact.digest
    chat = new_name("chat-prompt")
    client.register_prompt(chat, [{"role": "system", "content": "hi"}])
    messages = await registry(mlflow_url, tmp_path).resolve(MlflowRef(chat, 1), kind="prompt")
    assert messages.text == '[{"role": "system", "content": "hi"}]'


async def test_a_prompt_is_no_model_and_the_other_way_round(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    prompt, model = new_name("system"), register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    client.register_prompt(prompt, "Be kind.")
    for ref, kind in ((MlflowRef(prompt, 1), "model"), (model, "prompt")):
        with pytest.raises(SluiceError, match="REG-001"):
            await registry(mlflow_url, tmp_path).resolve(ref, kind=kind)


async def test_the_alias_moves_and_says_where_it_was(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    folder, name = model_folder(tmp_path, "m"), new_name("chat")
    one, two = register_model(client, folder, name), register_model(client, folder, name)
    marks = registry(mlflow_url, tmp_path)
    assert await marks.mark(one, "champion", kind="model") is None
    assert await marks.mark(two, "champion", kind="model") == str(one)
    assert await marks.mark(two, "champion", kind="model") == str(two)
    assert int(client.get_model_version_by_alias(name, "champion").version) == two.version
    assert await marks.mark(parse_ref(str(one)), "champion", kind="model") == str(two)
    assert int(client.get_model_version_by_alias(name, "champion").version) == one.version
    await marks.unmark(one, "champion")
    await marks.unmark(one, "champion")
    assert client.get_registered_model(name).aliases == {}


@pytest.mark.parametrize("verb", ["resolve", "mark"])
async def test_what_is_not_registered_is_told(client: Any, mlflow_url: str, tmp_path: Path, verb: str) -> None:
    marks = registry(mlflow_url, tmp_path)
    call = marks.resolve if verb == "resolve" else lambda ref, kind: marks.mark(ref, "champion", kind=kind)
    with pytest.raises(SluiceError, match="REG-001"):
        await call(MlflowRef("nobody", 1), kind="model")


async def test_an_empty_or_foreign_artifact_is_told(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    name = new_name("chat")
    client.create_registered_model(name)
    run = client.create_run("0")
    for source, code in ((f"{run.info.artifact_uri}/model", "REG-001"), ("s3://bucket/model", "REG-004")):
        version = client.create_model_version(name, source, run.info.run_id)
        with pytest.raises(SluiceError) as refused:
            await registry(mlflow_url, tmp_path).resolve(MlflowRef(name, int(version.version)), kind="model")
        assert refused.value.code == code


async def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with http_stub(lambda _: (200, {})) as url:
        pass
    with pytest.raises(SluiceError, match="REG-003") as refused:
        await registry(url.replace("//", "//ann:hunter2@"), tmp_path).resolve(MlflowRef("chat", 1), kind="model")
    assert refused.value.retryable
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "retryable", "said"),
    [
        ((503, b"busy"), True, "HTTP 503"),
        ((401, b""), False, "MLFLOW_TRACKING_TOKEN"),
        ((404, b"<html>"), False, "HTTP 404"),
    ],
)
async def test_a_server_that_refuses_is_told(answer: Answer, retryable: bool, said: str, tmp_path: Path) -> None:
    with http_stub(lambda _: answer) as url, pytest.raises(SluiceError, match="REG-003") as refused:
        await registry(url, tmp_path).resolve(MlflowRef("chat", 1), kind="model")
    assert refused.value.retryable == retryable
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", ""])
async def test_a_server_cannot_write_outside_the_folder(name: str, tmp_path: Path) -> None:
    files = [{"path": name, "is_dir": False, "file_size": 1}]
    with http_stub(lambda _: (200, {"files": files})) as url, pytest.raises(SluiceError, match="REG-002"):
        await _fetch(url, tmp_path)
    assert not (tmp_path / "copies" / "m").exists()


async def test_a_download_that_was_cut_short_leaves_nothing(tmp_path: Path) -> None:
    files = [{"path": n, "is_dir": False, "file_size": 9} for n in ("config.json", "model.safetensors")]

    def answer(asked: Asked) -> Answer:
        return (200, {"files": files}) if "path" in asked.query else (200, b"short")

    with http_stub(answer) as url, pytest.raises(SluiceError, match="REG-003") as refused:
        await _fetch(url, tmp_path)
    assert "5 of 9 bytes" in refused.value.problem.what
    assert not (tmp_path / "copies" / "m").exists()


async def _fetch(url: str, tmp_path: Path) -> None:
    uri = "mlflow-artifacts:/0/r/artifacts/model"
    await artifacts.fetch(MlflowApi(url), ref="mlflow:m/1", kind="model", uri=uri, folder=tmp_path / "copies" / "m")


async def test_the_copy_is_found_by_its_digest_without_the_server(client: Any, mlflow_url: str, tmp_path: Path) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    home = tmp_path / "home"
    found = await registry(mlflow_url, home).resolve(ref, kind="model")
    offline = MlflowRegistry("http://127.0.0.1:9", home)
    assert await offline.folder(found.artifact, kind="model") == copy_of(home)
    assert not [file for file in copy_of(home).rglob("*") if file.is_file() and file.stat().st_mode & 0o222]
    fresh = registry(mlflow_url, tmp_path / "elsewhere")
    assert names_in(await fresh.folder(found.artifact, kind="model")) == names_in(copy_of(home))


async def test_content_that_was_planned_and_is_not_there_is_refused(
    client: Any, mlflow_url: str, tmp_path: Path
) -> None:
    ref = register_model(client, model_folder(tmp_path, "m"), new_name("chat"))
    home = tmp_path / "home"
    found = await registry(mlflow_url, home).resolve(ref, kind="model")
    other = replace(found.artifact, digest="sha256:other")
    with pytest.raises(SluiceError, match="REG-006"):
        await registry(mlflow_url, home).folder(other, kind="model")
    damage(copy_of(home) / "config.json", "{}")
    with pytest.raises(SluiceError, match="REG-002"):
        await registry(mlflow_url, home).folder(found.artifact, kind="model")
