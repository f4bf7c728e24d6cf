"""A release becomes a model repository: each form that an artifact may have, and those refused with their codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact, Release
from reconciler.runtimes.triton.config import RELEASE_PARAMETER
from reconciler.runtimes.triton.layout import CONTROL, MODELS, REPOSITORY, control_word, lay_out
from reconciler.runtimes.triton.repository import Repository, plan_repository
from reconciler.runtimes.triton.text import Message, Word, parse_text

RELEASE = Release("chat", "triton", Artifact("file:m", "sha256:1"))
CONFIG = """backend: "python" max_batch_size: 4
input [{ name: "A" data_type: TYPE_FP32 dims: [ 3 ] }]
output [{ name: "B" data_type: TYPE_FP32 dims: [ -1 ] }]
"""
ENSEMBLE = 'platform: "ensemble" ensemble_scheduling { step { model_name: "part" model_version: -1 } }'


def planned(files: dict[str, str], **engine: Any) -> Repository:
    """Plan the repository of an artifact with these files."""
    configs = {name: text for name, text in files.items() if name.endswith("config.pbtxt")}
    return plan_repository(replace(RELEASE, engine=engine), files, configs, model_path="/models/m")


def config_of(repository: Repository, name: str = "chat") -> Message:
    return parse_text(repository.files[f"{name}/config.pbtxt"])


def refused(code: str, files: dict[str, str], **engine: Any) -> str:
    with pytest.raises(SluiceError, match=code) as caught:
        planned(files, **engine)
    assert caught.value.problem.do
    return caught.value.problem.what


def test_one_models_folder() -> None:
    found = planned({"config.pbtxt": CONFIG, "1/model.py": "", "labels.txt": "", "2/model.py": "", "warmup/a": ""})
    assert (found.models, found.version) == (("chat",), 2)
    assert found.links == {"chat/2": "2", "chat/labels.txt": "labels.txt", "chat/warmup": "warmup"}
    config = config_of(found)
    assert config.last("name") == "chat"
    assert config.last("max_batch_size") == 4
    assert config.last("version_policy") == Message((("specific", Message((("versions", 2),))),))


def test_the_release_stands_in_the_configuration() -> None:
    found = planned({"config.pbtxt": CONFIG, "1/model.py": ""})
    parameter = config_of(found).last("parameters")
    assert isinstance(parameter, Message)
    assert parameter.last("key") == RELEASE_PARAMETER
    assert parameter.last("value") == Message((("string_value", RELEASE.id),))


@pytest.mark.parametrize(
    ("engine", "policy", "version"),
    [({}, "", 3), ({"version": 1}, "", 1), ({}, "version_policy { specific { versions: [ 1, 2 ] } }", 2)],
)
def test_which_version_is_served(engine: dict[str, Any], policy: str, version: int) -> None:
    files = {"config.pbtxt": CONFIG + policy, **{f"{n}/model.py": "" for n in (1, 2, 3)}}
    found = planned(files, **engine)
    assert found.version == version
    assert set(found.links) == {f"chat/{version}"}


def test_engine_arguments_go_into_the_configuration() -> None:
    engine: dict[str, Any] = {"instance_count": 2, "instance_kind": "cpu", "max_batch_size": 16}
    files = {"config.pbtxt": CONFIG + "instance_group [{ count: 9 }]", "1/model.py": ""}
    config = config_of(planned(files, **engine, parameters={"tone": "kind"}))
    assert config.all("max_batch_size") == (16,)
    assert config.all("instance_group") == (Message((("count", 2), ("kind", Word("KIND_CPU")))),)
    keys = [each.last("key") for each in config.all("parameters") if isinstance(each, Message)]
    assert keys == ["tone", RELEASE_PARAMETER]


def test_a_repository_of_one_is_served_under_the_endpoints_name() -> None:
    found = planned({"bge/config.pbtxt": f'name: "bge" {CONFIG}', "bge/1/model.onnx": ""})
    assert (found.models, found.links) == (("chat",), {"chat/1": "bge/1"})


def test_of_several_the_one_of_the_endpoints_name_comes_first_and_the_rest_keep_theirs() -> None:
    files = {"chat/config.pbtxt": ENSEMBLE, "aid/config.pbtxt": CONFIG, "aid/1/model.py": "", "aid/3/model.py": ""}
    found = planned(files)
    assert found.models == ("chat", "aid")
    assert "chat/1/.keep" in found.files, "an ensemble has no files, and Triton wants its version's folder"
    assert found.links == {"aid/3": "aid/3"}
    assert config_of(found, "aid") == parse_text(CONFIG)


@pytest.mark.parametrize(
    ("file", "backend"), [("model.py", "python"), ("model.onnx", "onnxruntime"), ("model.plan", "tensorrt")]
)
def test_files_without_a_configuration_tell_their_backend(file: str, backend: str) -> None:
    bare = planned({file: "", "vocabulary.txt": ""})
    assert (bare.links, config_of(bare).last("backend")) == ({"chat/1": ""}, backend)
    within = planned({f"2/{file}": ""})
    assert (within.links, within.version, config_of(within).last("backend")) == ({"chat/2": "2"}, 2, backend)
    told = planned({"config.pbtxt": "max_batch_size: 2", f"1/{file}": ""})
    assert config_of(told).last("backend") == backend


def test_a_language_model_is_served_by_the_vllm_backend() -> None:
    found = planned({"config.json": "{}", "model.safetensors": ""}, vllm={"max_model_len": 2048})
    assert json.loads(found.files["chat/1/model.json"]) == {"model": "/models/m", "max_model_len": 2048}
    assert (found.links, config_of(found).last("backend")) == ({}, "vllm")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no config.pbtxt"),
        ({"readme.md": ""}, "no config.pbtxt"),
        ({"a/config.pbtxt": CONFIG, "a/1/model.py": "", "b/1/model.py": ""}, "b has no config.pbtxt"),
        ({"config.pbtxt": CONFIG, "v1/model.py": ""}, "v1 is not a number"),
        ({"config.pbtxt": CONFIG, "01/model.py": ""}, "01 is not a number"),
        ({"config.pbtxt": CONFIG, "0/model.py": ""}, "0 is not a number"),
        ({"config.pbtxt": CONFIG, "1/model.py": "", "v2/model.py": ""}, "v2 is not a number"),
        ({"config.pbtxt": CONFIG, "latest/model.py": ""}, "only latest"),
        ({"config.pbtxt": CONFIG}, "there is none"),
        ({"a/config.pbtxt": CONFIG, "a/1/m": "", "b/config.pbtxt": CONFIG, "b/1/m": ""}, 'called "chat"'),
    ],
)
def test_what_is_no_repository(files: dict[str, str], says: str) -> None:
    assert says in refused("RUN-007", files)


def test_a_version_that_is_not_there() -> None:
    assert "asks for 7; there is 1" in refused("RUN-007", {"config.pbtxt": CONFIG, "1/model.py": ""}, version=7)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("backend: ", "it cannot be read: line 1"),
        ('backend: "pyton"', 'the backend "pyton" is not known (nearest: "python"'),
        ('platform: "onnx"', 'the platform "onnx" is not known'),
        ("max_batch_size: 3", "it names no backend"),
        ('backend: "python" max_batchsize: 3', 'no field "max_batchsize" (nearest: "max_batch_size"'),
        ('backend: "python" max_batch_size: -1', "max_batch_size is not a number from 0 on"),
        ('backend: "python" input { data_type: TYPE_FP32 dims: 1 }', "input[0] has no name"),
        ('backend: "python" input { name: "A" data_type: FP32 dims: 1 }', 'data_type FP32 (nearest: "TYPE_FP32"'),
        ('backend: "python" output { name: "A" data_type: TYPE_FP32 }', "output[0] has no dims"),
        ('backend: "python" output { name: "A" data_type: TYPE_FP32 dims: 0 }', "neither sizes nor -1"),
        ('backend: "python" instance_group { kind: KIND_TPU }', "instance_group is not of a known kind"),
        ('backend: "python" name: "other"', 'its name is "other" and its folder is called "mine"'),
        ('backend: "python" name: "../up"', "is no name of a model"),
    ],
)
def test_what_is_no_configuration(config: str, says: str) -> None:
    assert says in refused("RUN-008", {"mine/config.pbtxt": config, "mine/1/m.bin": ""})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    what = refused("RUN-008", {"config.pbtxt": 'backend: "x" nonsense: 1 input { dims: 1 }', "1/m": ""})
    assert all(text in what for text in ('"x"', '"nonsense"', "input[0]"))


def test_equal_releases_have_equal_repositories_and_others_have_others() -> None:
    files = {"config.pbtxt": CONFIG, "1/model.py": ""}
    assert planned(files).digest == planned(files).digest
    assert planned(files).digest != planned(files, max_batch_size=1).digest


def artifact(folder: Path) -> Path:
    made = folder / "m"
    (made / "1").mkdir(parents=True)
    (made / "config.pbtxt").write_text(CONFIG)
    (made / "1" / "model.py").write_text("code")
    (made / ".git").mkdir()
    return made


def test_what_is_laid_out_links_to_the_artifact_and_is_found_again(tmp_path: Path) -> None:
    folder, paths = tmp_path / "files", {"model": str(artifact(tmp_path))}
    folder.mkdir()
    found = lay_out(RELEASE, paths, folder)
    made = Path(found[REPOSITORY])
    assert (made / "chat" / "1" / "model.py").read_text() == "code"
    assert (made.parent, found[MODELS]) == (folder, "chat")
    before = (made / "chat" / "config.pbtxt").stat().st_mtime_ns
    assert lay_out(RELEASE, paths, folder) == found
    assert (made / "chat" / "config.pbtxt").stat().st_mtime_ns == before
    assert [each.name for each in folder.iterdir() if each.is_dir()] == [made.name]


def test_the_word_of_control_is_for_this_user_alone_and_stays(tmp_path: Path) -> None:
    folder, paths = tmp_path / "files", {"model": str(artifact(tmp_path))}
    folder.mkdir()
    word = lay_out(RELEASE, paths, folder)[CONTROL]
    assert len(word) == 32
    assert word == control_word(folder) == lay_out(RELEASE, paths, folder)[CONTROL]
    assert (folder / "control").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_told_with_its_code(tmp_path: Path) -> None:
    blocked = tmp_path / "files"
    blocked.write_text("a file")
    with pytest.raises(SluiceError, match="RUN-009") as caught:
        lay_out(RELEASE, {"model": str(artifact(tmp_path))}, blocked)
    assert caught.value.retryable
