"""Pods that do not run are told apart, and each reason says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from reconciler.core.model.observed import ServerState
from reconciler.platforms.kubernetes.pending import Cluster, why_no_pods
from reconciler.platforms.kubernetes.pods import replica
from tests.unit.kubernetes.made import POOL, event, pending, pod

NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available"
NO_NODE = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"
TAINTED = "0/2 nodes are available: 2 node(s) had untolerated taint(s)"


def cluster(*events: Mapping[str, Any], nodes: int = 2, waited_s: float = 40) -> Cluster:
    """Return what a pod that waits is judged by."""
    return Cluster({"chat-a-1": events}, {"l4": nodes}, {"l4": POOL}, {"chat-a-1": waited_s})


UNSCHEDULED: list[tuple[str, dict[str, Any], Cluster, str, str]] = [
    (
        "scaling up, by Karpenter",
        pending(NO_GPU),
        cluster(event("Nominated", "Pod should schedule on: nodeclaim/l4-x")),
        "is on its way, since 40 s",
        "Wait",
    ),
    (
        "scaling up, by the cluster autoscaler",
        pending(NO_NODE),
        cluster(event("TriggeredScaleUp", "1->2")),
        "is on its way",
        "Wait",
    ),
    ("the pool is full", pending(NO_GPU), cluster(nodes=4), "at its maximum: 4 of 4 machines", "nodes.max"),
    (
        "the pool's limits",
        pending(NO_GPU),
        cluster(event("FailedScheduling", "all available instance types exceed limits for nodepool")),
        "at its maximum",
        "retire a warm slot",
    ),
    (
        "the node group's maximum",
        pending(NO_GPU),
        cluster(event("NotTriggerScaleUp", "1 max node group size reached")),
        "at its maximum",
        "nodes.max",
    ),
    (
        "quota of the account",
        pending(NO_GPU),
        cluster(event("FailedScheduling", "VcpuLimitExceeded: you have requested more")),
        "quota is used up",
        "Ask for more",
    ),
    (
        "sold out",
        pending(NO_GPU),
        cluster(event("FailedScheduling", "InsufficientInstanceCapacity")),
        "has no machine",
        "zones",
    ),
    (
        "nothing happens",
        pending(NO_GPU),
        cluster(waited_s=700),
        "none is on its way after 700 s",
        "kubectl get nodeclaims",
    ),
    ("only taints", pending(TAINTED), cluster(), "none is on its way", "autoscaler"),
    (
        "no claim",
        pending('persistentvolumeclaim "sluice-models" not found'),
        cluster(),
        "claim is missing",
        "Make the claim",
    ),
    (
        "something else",
        pending("0/2 nodes are available: 2 node(s) had volume node affinity conflict"),
        cluster(),
        "volume node affinity conflict",
        "kubectl describe pod chat-a-1",
    ),
    (
        "no processors left",
        pending("0/2 nodes are available: 2 Insufficient cpu. preemption: no victims"),
        cluster(),
        "has enough cpu left, and none is on its way",
        "autoscaler",
    ),
    ("not looked at", pending(""), cluster(), "has not looked at it yet", ""),
]


@pytest.mark.parametrize(
    ("waiting", "seen", "what", "do"), [row[1:] for row in UNSCHEDULED], ids=[row[0] for row in UNSCHEDULED]
)
def test_why_a_pod_has_no_machine(waiting: dict[str, Any], seen: Cluster, what: str, do: str) -> None:
    found = replica(waiting, (), seen)
    assert found.state is ServerState.STARTING
    assert found.reason is not None
    assert what in found.reason
    assert do in found.reason


CRASHED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: no such model\n"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
PLACED: list[tuple[str, dict[str, Any], ServerState, str]] = [
    (
        "no image",
        pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x: not found"}}),
        ServerState.STARTING,
        "its image cannot be pulled: Back-off pulling image x: not found. Correct the image",
    ),
    (
        "crash loop",
        pod(state=BACK_OFF, lastState=CRASHED, restartCount=4),
        ServerState.RESTARTING,
        "(4 restarts, exit code 1, Error): ValueError: no such model.",
    ),
    (
        "out of memory",
        pod(state=BACK_OFF, lastState=KILLED, restartCount=2),
        ServerState.RESTARTING,
        "Give it more memory",
    ),
    ("ended now", pod(state=CRASHED, restartCount=1), ServerState.RESTARTING, "exit code 1"),
    ("fetches", pod(state={"waiting": {"reason": "ContainerCreating"}}), ServerState.STARTING, "fetches the image"),
    ("loads", pod(), ServerState.STARTING, "it loads its model"),
    ("silent", pod(started=True), ServerState.SILENT, "does not answer its readiness probe"),
]


@pytest.mark.parametrize(("body", "state", "why"), [row[1:] for row in PLACED], ids=[row[0] for row in PLACED])
def test_why_a_server_is_not_ready(body: dict[str, Any], state: ServerState, why: str) -> None:
    found = replica(body, (), Cluster(), url="http://x")
    assert found.state is state
    assert why in (found.reason or "")
    assert found.url is None


def test_a_ready_server_has_no_reason_and_an_address() -> None:
    found = replica(pod(ready=True), ("chat-a-1:0",), Cluster(), url="http://x")
    assert (found.state, found.reason, found.url, found.warm) == (ServerState.READY, None, "http://x", True)


def test_what_was_warmed_up_is_forgotten_of_a_server_that_restarts() -> None:
    assert not replica(pod(ready=True, restartCount=1), ("chat-a-1:0",), Cluster()).warm


def test_a_pod_that_goes_serves_nobody_new() -> None:
    going = pod(ready=True)
    going["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    assert replica(going, (), Cluster()).state is ServerState.STOPPING


def test_an_evicted_pod_is_dead() -> None:
    evicted = pod()
    evicted["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}
    found = replica(evicted, (), Cluster())
    assert (found.state, found.reason) == (ServerState.DEAD, "the pod has ended: Evicted the node was low on memory")


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ('pods "x" is forbidden: exceeded quota: gpus, requested: 1', "the namespace's quota is used up"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "the namespace refuses the pod"),
        ("something else", "Kubernetes refuses the pod: something else"),
    ],
)
def test_why_no_pod_is_made(message: str, why: str) -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    assert (why_no_pods([failed]) or "").startswith(why)
    assert why_no_pods([{**failed, "status": "False"}]) is None
