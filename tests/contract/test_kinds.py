"""Records of what can be declared: each names code that is there and that keeps its port, and commands read them."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from environments.gates import GATES, GateKind, GatesSpec
from environments.load import load
from environments.spec import KubernetesRegion, LocalRegion, RegistrySpec, SageMakerRegion
from reconciler.cli.main import run
from reconciler.compose import build_gate, compose, kinds_of
from reconciler.core.model.settings import GATE_ORDER
from reconciler.platforms.kinds import platform_kind
from reconciler.ports import CountsTraffic, Gate, KeepsReplicas, read_all
from tests.support.processes import ROOT

VERBS = sorted(name for name, _ in inspect.getmembers(Gate, inspect.isfunction) if not name.startswith("_"))
LOCAL = LocalRegion(platform="local", gateway_port=18080, serve_command=["./serve.sh"])


def block_of(kind: GateKind) -> type[BaseModel]:
    """Return the type of a gate's settings."""
    block: type[BaseModel]
    (block,) = set(get_args(GatesSpec.model_fields[kind.name].annotation)) - {type(None)}
    return block


@pytest.mark.parametrize("kind", GATES, ids=lambda kind: kind.name)
def test_a_gate_that_can_be_declared_can_be_asked(kind: GateKind) -> None:
    gate = build_gate(kind, RegistrySpec())
    assert [verb for verb in VERBS if not callable(getattr(gate, verb, None))] == []
    assert set(kind.files) <= set(block_of(kind).model_fields)


def test_gates_are_asked_in_the_order_of_their_fields() -> None:
    assert list(GATE_ORDER) == list(GatesSpec.model_fields) == [kind.name for kind in GATES]
    assert [kind.order for kind in GATES] == list(range(len(GATES)))
    spec = GatesSpec.model_validate({"load": {"profile": "p"}, "eval": {"suite": "s"}})
    assert spec.declared() == ("eval", "load")
    assert GatesSpec().declared() == ()


def test_a_region_finds_its_platform_or_none() -> None:
    kind = platform_kind(LOCAL)
    assert kind is not None
    assert kind.name == "local"
    assert kind.down is not None
    on_a_cluster = platform_kind(KubernetesRegion(platform="kubernetes", context="c"))
    assert on_a_cluster is not None
    assert (on_a_cluster.name, on_a_cluster.down) == ("kubernetes", None)
    assert platform_kind(SageMakerRegion(platform="sagemaker")) is None


def test_an_environment_has_the_kinds_of_its_regions() -> None:
    kinds = {
        name: [kind.name for kind in kinds_of(load(ROOT / "environments" / f"{name}.yaml", environ={}))]
        for name in ("local", "prod")
    }
    assert kinds == {"local": ["local"], "prod": ["kubernetes"]}


async def test_a_region_that_the_file_dropped_is_built_from_what_a_rollout_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_STORE", "sqlite:///.sluice/x.db")
    composed = compose(load(ROOT / "environments" / "local.yaml"))
    try:
        rebuild = composed.adapters().rebuild
        region = rebuild("gone", LOCAL.model_dump(mode="json", exclude={"prometheus"}))
        assert region is not None
        assert (region.name, sorted(region.runtimes), sorted(region.metrics)) == ("gone", ["triton", "vllm"], ["http"])
        assert await read_all(region.reader) == ()
        cluster = rebuild("gone", {"platform": "kubernetes", "context": "c"})
        assert cluster is not None
        assert {CountsTraffic, KeepsReplicas} <= cluster.can
        assert rebuild("gone", {"platform": "sagemaker"}) is None
        assert rebuild("gone", {"platform": "elsewhere"}) is None
    finally:
        await composed.store.close()


def test_doctor_asks_the_platform_of_each_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "environments").mkdir()
    region = {"platform": "local", "gateway_port": 18099, "serve_command": ["no-such-program"]}
    release = {"model": "file:models/v1"}
    spec = {
        "environment": "dev",
        "owner": "us",
        "store": "sqlite:///.sluice/dev.db",
        "regions": {"here": region},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "gpus_per_replica": 0, "release": release}},
    }
    (tmp_path / "environments" / "dev.yaml").write_text(json.dumps(spec))
    monkeypatch.setenv("SLUICE_ENVIRONMENTS", str(tmp_path / "environments"))
    assert run(["doctor", "dev", "--json"]) == 1
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["here: serve_command"]["state"] == "missing"
    assert "no-such-program" in checks["here: serve_command"]["do"]
    assert checks["here: gateway_port"]["state"] == "ok"


def test_down_is_refused_where_no_platform_has_processes_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_STORE", "sqlite:///.sluice/x.db")
    file = tmp_path / "environments" / "far.yaml"
    file.parent.mkdir()
    pool = {"gpu": "L4", "instance": "g6.2xlarge", "gpus_per_node": 1, "vram_gib": 24, "nodes": {"min": 0, "max": 1}}
    spec = {
        "environment": "far",
        "owner": "us",
        "store": "sqlite:///.sluice/far.db",
        "regions": {"eu-west-1": {"platform": "kubernetes", "context": "c", "gpu_pools": {"l4": pool}}},
        "endpoints": {"chat": {"team": "t", "runtime": "vllm", "pool": "l4", "release": {"model": "file:models/v1"}}},
    }
    file.write_text(json.dumps(spec))
    assert run(["down", "-f", str(file)]) == 1
    assert "CLI-003" in capsys.readouterr().err
