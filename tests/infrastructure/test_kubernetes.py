"""The control plane judges objects for real, and the kubernetes provider passes its judgement on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.builds.catalog import ROOT
from tests.infrastructure.test_harness import configure, stack_of
from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.pulumi_engine.harness import PulumiHarness

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(900)]

GPU = "nvidia.com/gpu"


def deployment(name: str, *, gpus: int) -> Body:
    """Return a Deployment of one pod that wants so many GPUs."""
    container = {"name": "server", "image": "server:1", "resources": {"limits": {GPU: str(gpus)}}}
    pod = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def ready_replicas(plane: ControlPlane, name: str, namespace: str = "default") -> int:
    """Return how many pods of a Deployment are ready."""
    found = plane.api.get("apps/v1", "Deployment", name, namespace) or {}
    return int(found.get("status", {}).get("readyReplicas", 0))


def scheduling_problem(plane: ControlPlane, name: str) -> str:
    """Return why the scheduler cannot place a Deployment's pod, or nothing."""
    pods = plane.api.list("v1", "Pod", "default", labels=f"app={name}")
    conditions = [c for pod in pods for c in pod.get("status", {}).get("conditions", [])]
    return next((c["message"] for c in conditions if c.get("reason") == "Unschedulable"), "")


def test_the_scheduler_counts_gpus(plane: ControlPlane) -> None:
    plane.add_gpu_node("gpu-1", gpus=4)
    plane.api.apply(deployment("fits", gpus=2))
    plane.api.apply(deployment("too-large", gpus=8))

    plane.wait_for("the Deployment to be ready", lambda: ready_replicas(plane, "fits") == 1)
    plane.wait_for("the scheduler to give up", lambda: scheduling_problem(plane, "too-large") != "")

    assert f"Insufficient {GPU}" in scheduling_problem(plane, "too-large")
    assert ready_replicas(plane, "too-large") == 0
    for name in ("fits", "too-large"):
        plane.api.delete("apps/v1", "Deployment", name, "default")


def test_crds_judge_objects(plane: ControlPlane) -> None:
    plane.apply_crds(only=("httproutes", "scaledobjects", "podmonitors", "backendtrafficpolicies"))
    route: Body = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "chat", "namespace": "default"},
        "spec": {"rules": [{"backendRefs": [{"name": "chat-a", "port": 8000, "weight": 1}]}]},
    }
    assert plane.api.apply(route)["spec"]["rules"][0]["backendRefs"][0]["weight"] == 1

    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = -1
    with pytest.raises(ApiError, match="should be greater than or equal to 0"):
        plane.api.apply(route)
    route["spec"]["rules"][0]["backendRefs"][0] = {"name": "chat-a", "port": 8000, "wait": 1}
    with pytest.raises(ApiError, match="field not declared in schema"):
        plane.api.apply(route)


def test_a_stack_on_a_cluster(pulumi_on_kubernetes: PulumiHarness, plane: ControlPlane, tmp_path: Path) -> None:
    pulumi = pulumi_on_kubernetes
    project = stack_of("workload", tmp_path)
    plane.add_gpu_node("gpu-2", gpus=4)

    pulumi.preview(project, "dev").must_succeed()
    assert plane.api.get("v1", "Namespace", "team-dev") is None

    pulumi.up(project, "dev").must_succeed()
    plane.wait_for("the Deployment to be ready", lambda: ready_replicas(plane, "model", "team-dev") == 1)
    assert pulumi.outputs(project, "dev")["address"].startswith("10.0.0.")
    service = plane.api.get("v1", "Service", "model", "team-dev")
    assert service is not None
    assert [owner["manager"] for owner in service["metadata"]["managedFields"]] == ["pulumi-kubernetes"]
    pulumi.preview(project, "dev", "--expect-no-changes").must_succeed()

    configure(project, port="81")
    pulumi.up(project, "dev").must_succeed()
    changed = plane.api.get("v1", "Service", "model", "team-dev")
    assert changed is not None
    assert changed["metadata"]["uid"] == service["metadata"]["uid"]
    assert changed["spec"]["ports"][0]["port"] == 81

    pulumi.destroy(project, "dev").must_succeed()
    assert plane.api.get("v1", "Namespace", "team-dev") is None


def test_kubernetes_own_refusal_is_shown_in_the_preview(pulumi_on_kubernetes: PulumiHarness, tmp_path: Path) -> None:
    project = stack_of("workload", tmp_path, replicas="-1")
    pulumi_on_kubernetes.preview(project, "dev").must_fail("spec.replicas", "must be greater than or equal to 0")


def test_no_process_outlives_a_killed_test(tmp_path: Path) -> None:
    program = (
        "from tests.support.kubernetes.control_plane import control_plane\n"
        "with control_plane(controllers=False) as plane:\n"
        "    print(*(p.pid for p in plane.processes.values()), flush=True)\n"
        "    input()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # its files stay behind, where pytest removes them
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    started = [psutil.Process(int(pid)) for pid in child.stdout.readline().split()]
    assert len(started) == 2

    child.kill()
    child.wait()

    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
