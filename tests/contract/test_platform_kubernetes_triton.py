"""Triton in a cluster: its model repository comes into pods with the slot, never changes, and goes with it.

The machines are fake: what is shown is what the API server takes, and what of it is there when. That `tritonserver`
serves such a repository is `test_runtime_triton.py`'s matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.ports import finished
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.world import TRITON_IMAGE, KubernetesWorld, on_a_cluster
from tests.support.worlds import place, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]
MODEL_IMAGE = "registry.example.com/models/chat@sha256:" + "2" * 64
CONFIG = 'backend: "python"\ninput { name: "X" data_type: TYPE_FP32 dims: [1] }\n'


class Kept:
    """`Files` of models that lie in one folder, by the last part of their reference's name."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def folder(self, artifact: Artifact, *, kind: str) -> Path:
        """Return a model's folder."""
        assert kind == "repository"
        return self._home / artifact.ref.removeprefix("mlflow:").partition("/")[0]

    async def keep(self, digests: Collection[str]) -> None:
        """Let go of nothing."""


def model(home: Path, name: str, *, config: str = CONFIG) -> Release:
    """Return a release on Triton whose model lies below `home`."""
    (home / name / "1").mkdir(parents=True)
    (home / name / "config.pbtxt").write_text(config)
    (home / name / "1" / "model.py").write_text("class TritonPythonModel: ...")
    digest = f"sha256:{name.encode().hex():0<64}"
    return Release("chat", "triton", Artifact(f"mlflow:{name}/1", digest), lineage={"model": Lineage(f"mlflow:{name}")})


@pytest.fixture(name="world")
async def world_with_triton(cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[KubernetesWorld]:
    """Return an empty region whose endpoint is on Triton."""
    images = {f"mlflow:{name}/1": MODEL_IMAGE for name in ("one", "two", "three")}
    async with on_a_cluster(cluster, model_images=images) as found:
        found.models = Kept(tmp_path)
        found.chat(runtime="triton")
        yield found


def laid_out(world: KubernetesWorld) -> list[Body]:
    return world.plane.api.list("v1", "ConfigMap", world.namespace, labels="sluice.dev/endpoint=chat")


async def test_a_slot_starts_serves_and_takes_its_files_with_it(world: KubernetesWorld, tmp_path: Path) -> None:
    one = model(tmp_path, "one")
    await finished(world.platform.start, place(world, "a"), one, fence=1)
    found = await until(world, "a", lambda s: s.ready_count == 1)
    assert found.release == one
    (files,) = laid_out(world)
    assert any(one.id in text for text in files["data"].values()), "the configuration names the release"
    with pytest.raises(ApiError, match="immutable"):
        world.plane.api.apply({**_named(files), "data": {"0-config.pbtxt": "other"}})
    pod = world.deployment("a")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == TRITON_IMAGE
    assert {m["mountPath"] for m in container["volumeMounts"] if m.get("subPath") == "1"} == {"/repository/chat/1"}
    assert {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v} == {files["metadata"]["name"]}
    await finished(world.platform.stop, place(world, "a"), fence=1)
    assert laid_out(world) == []


async def test_another_release_in_the_slot_has_files_of_its_own(world: KubernetesWorld, tmp_path: Path) -> None:
    await finished(world.platform.start, place(world, "a"), model(tmp_path, "one"), fence=1)
    (before,) = laid_out(world)
    await finished(world.platform.start, place(world, "a"), model(tmp_path, "two"), fence=2)
    (after,) = laid_out(world)
    assert before["metadata"]["name"] != after["metadata"]["name"]
    await finished(world.platform.start, place(world, "a"), model(tmp_path, "three"), fence=2)
    await finished(world.platform.remove, world.address, fence=2)
    assert laid_out(world) == []


async def test_a_start_that_is_asked_again_finds_its_files(world: KubernetesWorld, tmp_path: Path) -> None:
    one = model(tmp_path, "one")
    await finished(world.platform.start, place(world, "a"), one, fence=1)
    before = laid_out(world)
    world.platform = world.opened()
    await finished(world.platform.start, place(world, "a"), one, fence=1)
    assert laid_out(world) == before


async def test_a_plan_says_how_weights_and_configuration_get_into_pods(world: KubernetesWorld, tmp_path: Path) -> None:
    (remark,) = await world.platform.foresee(world.address, model(tmp_path, "unpacked"))
    assert (remark.code, remark.level) == ("PLAT-027", "info")
    assert "model: from the claim" in remark.message
    assert "what lies beside the model: an immutable ConfigMap of 1 files" in remark.message


async def test_a_plan_denies_what_triton_would_not_serve(world: KubernetesWorld, tmp_path: Path) -> None:
    await denied(world, model(tmp_path, "bad", config='backend: "unknown"'), "RUN-008")


async def test_a_plan_denies_what_no_config_map_holds(world: KubernetesWorld, tmp_path: Path) -> None:
    large = CONFIG + 'parameters { key: "k" value { string_value: "' + "y" * 600_000 + '" } }\n'
    release = model(tmp_path, "large")
    for name in ("chat", "other"):
        (tmp_path / "large" / name / "1").mkdir(parents=True)
        (tmp_path / "large" / name / "1" / "model.py").touch()
        (tmp_path / "large" / name / "config.pbtxt").write_text(large)
    (tmp_path / "large" / "config.pbtxt").unlink()
    (tmp_path / "large" / "1" / "model.py").unlink()
    await denied(world, release, "PLAT-032")


async def denied(world: KubernetesWorld, bad: Release, code: str) -> None:
    (remark,) = await world.platform.foresee(world.address, bad)
    assert (remark.code, remark.level) == (code, "deny")
    with pytest.raises(SluiceError, match=code):
        await world.platform.start(place(world, "a"), bad, fence=1)
    assert laid_out(world) == []


async def test_no_replica_spans_machines(world: KubernetesWorld, tmp_path: Path) -> None:
    world.chat(runtime="triton", workers=2)
    (remark,) = await world.platform.foresee(world.address, model(tmp_path, "one"))
    assert (remark.code, remark.level) == ("PLAT-033", "deny")


def _named(body: Body) -> Body:
    metadata = {key: body["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
