"""What a Triton server starts from is laid out in its pod: written files, and parts of the model beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.names import SLOT_PORT
from reconciler.core.model.release import Artifact, Release
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.artifacts import CLAIM, IMAGE, Source
from reconciler.platforms.kubernetes.files import BYTES_MAX, check_files, config_map, files_name
from reconciler.platforms.kubernetes.pod import Brought
from reconciler.platforms.kubernetes.refusals import check_placement
from reconciler.platforms.kubernetes.workload import workload
from reconciler.ports import PlannedFiles
from reconciler.runtimes.triton.runtime import TritonRuntime
from tests.unit.kubernetes.made import ADDRESS, DIGEST, MODEL_IMAGE, SLOT, place

CLAIMED, IMAGED = Source(CLAIM, "ab" * 32, "tests"), Source(IMAGE, MODEL_IMAGE, "tests")
PYTHON = {
    "config.pbtxt": 'name: "chat" backend: "python" max_batch_size: 8',
    "1/model.py": "class TritonPythonModel: ...",
    "labels.txt": "a",
}
LANGUAGE = {"config.json": "{}", "model.safetensors": ""}


def held(**engine: Any) -> Release:
    """Return a release on Triton."""
    return Release("chat", "triton", Artifact("mlflow:one/1", DIGEST), engine=engine)


def planned(folder: Path, files: dict[str, str], release: Release | None = None) -> PlannedFiles:
    """Return what Triton starts from beside a model with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return TritonRuntime().plan_files(
        release or held(), source=folder, model_path="/models/model", root="/repository", control="$(SLUICE_CONTROL)"
    )


def container(folder: Path, files: dict[str, str], source: Source = CLAIMED, **engine: Any) -> dict[str, Any]:
    """Return the container that serves a model with these files."""
    release, laid = held(**engine), planned(folder, files, held(**engine))
    brought = Brought(release, {"model": source}, laid, files_name(SLOT, laid))
    options = TritonRuntime().options(release, paths=brought.paths(), host="0.0.0.0", port=SLOT_PORT)
    pod = workload(SLOT, brought, options, place(runtime="triton"), replicas=1, fence=1)["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    return dict(found) | {"volumes": pod["volumes"]}


def mounted(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return each path below the repository with its volume and what of it."""
    mounts = [m for m in found["volumeMounts"] if m["mountPath"].startswith("/repository/")]
    assert all(m["readOnly"] for m in mounts)
    return {m["mountPath"]: (m["name"], m.get("subPath", "")) for m in mounts}


def test_a_models_own_parts_are_mounted_beside_the_configuration_that_is_written(tmp_path: Path) -> None:
    assert mounted(container(tmp_path, PYTHON)) == {
        "/repository/chat/config.pbtxt": ("files", "chat/config.pbtxt"),
        "/repository/chat/1": ("claim", f"{'ab' * 32}/1"),
        "/repository/chat/labels.txt": ("claim", f"{'ab' * 32}/labels.txt"),
    }


def test_a_model_in_an_image_is_mounted_by_its_parts_too(tmp_path: Path) -> None:
    found = mounted(container(tmp_path, PYTHON, IMAGED))
    assert found["/repository/chat/1"] == ("model", "1")
    whole = mounted(container(tmp_path / "bare", {"model.onnx": ""}, IMAGED))
    assert whole["/repository/chat/1"] == ("model", ""), "files alone are a version as a whole"


def test_a_language_model_is_served_from_where_it_is_mounted(tmp_path: Path) -> None:
    laid = planned(tmp_path, LANGUAGE)
    assert '"model": "/models/model"' in laid.files["chat/1/model.json"]
    assert laid.links == {}
    (model,) = [m for m in container(tmp_path, LANGUAGE)["volumeMounts"] if m["mountPath"] == "/models/model"]
    assert model["subPath"] == "ab" * 32


def test_a_server_loads_its_model_says_when_it_is_ready_and_ends_in_time(tmp_path: Path) -> None:
    found = container(tmp_path, PYTHON)
    assert found["command"] == ["tritonserver"]
    assert {
        "--model-repository=/repository",
        "--model-control-mode=explicit",
        "--load-model=chat",
        "--http-port=8000",
        "--metrics-port=8002",
        "--http-restricted-api=model-repository,shared-memory,trace,logging:x-sluice-control=$(SLUICE_CONTROL)",
    } <= set(found["args"])
    assert [a for a in found["args"] if a.startswith("--exit-timeout-secs")] == ["--exit-timeout-secs=600"]
    assert found["readinessProbe"]["httpGet"]["path"] == "/v2/models/chat/ready"
    assert found["startupProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert found["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert {p["containerPort"] for p in found["ports"]} == {8000, 8002}
    (word,) = [e for e in found["env"] if e["name"] == "SLUICE_CONTROL"]
    assert word["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid", "no client knows it, and nobody keeps it"


def test_a_release_may_say_how_long_it_takes_to_end(tmp_path: Path) -> None:
    assert "--exit-timeout-secs=30" in container(tmp_path, PYTHON, exit_timeout_secs=30)["args"]


def test_files_never_change_under_their_name(tmp_path: Path) -> None:
    one, other = planned(tmp_path, PYTHON), planned(tmp_path, PYTHON, held(max_batch_size=2))
    assert files_name(SLOT, one) != files_name(SLOT, other)
    body = config_map(SLOT, "support-prod", one, fence=7)
    assert body["immutable"] is True
    assert (marks.ours(body), marks.fence_of(body)) == (True, 7)
    (volume,) = [v for v in container(tmp_path, PYTHON)["volumes"] if v["name"] == "files"]
    assert volume["configMap"]["name"] == body["metadata"]["name"]
    assert {i["path"]: body["data"][i["key"]] for i in volume["configMap"]["items"]} == dict(one.files)


def test_what_no_config_map_holds_is_refused() -> None:
    texts = {"chat/config.pbtxt": "x" * 10, "other/config.pbtxt": "é" * (BYTES_MAX // 2)}
    with pytest.raises(SluiceError, match="PLAT-032") as refused:
        check_files("here", PlannedFiles(texts, {}, {}))
    assert "the largest file is other/config.pbtxt" in refused.value.problem.why
    check_files("here", PlannedFiles({"chat/config.pbtxt": "x" * (BYTES_MAX - 20)}, {}, {}))


def test_no_replica_of_triton_spans_machines() -> None:
    with pytest.raises(SluiceError, match="PLAT-033"):
        check_placement(ADDRESS, place(runtime="triton", workers=2), "controller")
    check_placement(ADDRESS, place(runtime="triton"), "controller")
