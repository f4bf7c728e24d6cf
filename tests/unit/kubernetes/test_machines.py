"""A server that is lost with its machine says so, and what fails there is not counted against its release."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.model.observed import ServerState
from reconciler.platforms.kubernetes.machines import blameless, lost_machines, told_off
from reconciler.platforms.kubernetes.pending import Cluster
from reconciler.platforms.kubernetes.pods import GROUP_INDEX, WORKER_INDEX, replica, server_of
from tests.unit.kubernetes.made import pending, pod


def node(name: str = "n1", *, ready: str = "True", **spec: Any) -> dict[str, Any]:
    said = {
        "type": "Ready",
        "status": ready,
        "reason": "NodeStatusUnknown",
        "lastTransitionTime": "2026-11-30T10:00:00Z",
    }
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [said]}}


def taken(reason: str, *, going: bool = False) -> dict[str, Any]:
    """Return a pod that answers, and that somebody takes away."""
    found = pod(ready=True)
    found["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": reason})
    if going:
        found["metadata"]["deletionTimestamp"] = "2026-11-30T10:00:00Z"
    return found


def test_machines_that_are_well_are_not_named() -> None:
    assert lost_machines([node(), {"metadata": {"name": "new"}}]) == {}


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_machine_that_does_not_answer(status: str) -> None:
    found = lost_machines([node("n1", ready=status), node("n2")])
    assert found == {"n1": "its machine n1 does not answer since 2026-11-30T10:00:00Z (NodeStatusUnknown)"}


def test_a_server_on_a_lost_machine_is_silent_for_its_machines_sake() -> None:
    silent = pod(ready=False)
    silent["status"]["containerStatuses"][0]["started"] = True
    lost = lost_machines([node("n1", ready="Unknown")])
    found = replica(silent, (), Cluster(lost=lost))
    assert found.state is ServerState.SILENT
    assert (found.reason or "").startswith("its machine n1 does not answer")
    assert "another one starts elsewhere" in (found.reason or "")
    assert blameless(silent, lost)
    assert not blameless(silent, {})


def test_a_machine_that_is_closed_to_new_pods_still_serves_those_it_has() -> None:
    closed = lost_machines([node("n1", unschedulable=True)])
    assert closed == {"n1": "its machine n1 is being drained"}
    assert not blameless(pod(ready=True), closed)


@pytest.mark.parametrize(
    ("reason", "words"),
    [("EvictionByEvictionAPI", "is being drained"), ("DeletionByTaintManager", "lost for too long"), ("New", "New")],
)
def test_a_server_that_is_taken_away_with_its_machine(reason: str, words: str) -> None:
    found = replica(taken(reason, going=True), (), Cluster())
    assert found.state is ServerState.STOPPING
    assert words in (found.reason or "")
    assert "another one starts" in (found.reason or "")
    assert blameless(taken(reason), {})


def test_a_server_that_nobody_takes_away() -> None:
    assert told_off(pod(ready=True)) is None
    assert not blameless(pod(ready=True), {})


def test_who_goes_with_its_machine_is_displaced_and_so_is_who_comes_in_its_place() -> None:
    assert replica(taken("EvictionByEvictionAPI", going=True), (), Cluster()).displaced
    assert replica(pod("chat-a-2"), (), Cluster()).displaced, "it loads its model on another machine"
    assert replica(pod("chat-a-2", ready=True), (), Cluster()).displaced, "it is cold, and never ended"


def test_who_ends_by_itself_or_hangs_is_not_displaced() -> None:
    warm = {"chat-a-1:0"}
    assert not replica(pod(ready=True), warm, Cluster()).displaced
    assert not replica(pod(restartCount=1), warm, Cluster()).displaced
    assert not replica(pod(started=True), warm, Cluster()).displaced, "it answered, and does not now"
    ended = pod()
    ended["status"]["phase"] = "Failed"
    assert not replica(ended, (), Cluster()).displaced


def member(name: str, index: int, uid: str, **status: Any) -> dict[str, Any]:
    """Return a pod of the first group of a LeaderWorkerSet."""
    found = pod(name, **status)
    found["metadata"]["labels"] |= {GROUP_INDEX: "0", WORKER_INDEX: str(index)}
    found["metadata"]["uid"] = uid
    return found


def test_a_leader_in_the_place_of_another_is_cold_although_it_has_its_name() -> None:
    before, after = member("chat-a-0", 0, "u1", ready=True), member("chat-a-0", 0, "u2", ready=True)
    assert replica(before, {server_of(before)}, Cluster()).warm
    assert not replica(after, {server_of(before)}, Cluster()).warm


def test_a_group_is_restarted_by_whichever_of_its_pods_ends_and_displaced_with_any_of_its_machines() -> None:
    leader = member("chat-a-0", 0, "u1")
    crashed = replica(leader, (), Cluster(), workers=[member("chat-a-0-1", 1, "u2", restartCount=1)])
    assert (crashed.restarts, crashed.displaced) == (1, False)
    told = member("chat-a-0-1", 1, "u2")
    told["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"})
    assert replica(leader, {server_of(leader)}, Cluster(), workers=[told]).displaced


def test_a_leader_that_waits_says_what_its_group_lacks() -> None:
    worker = pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", name="chat-a-0-1")
    found = replica(member("chat-a-0", 0, "u1"), (), Cluster(), workers=[worker])
    assert "no machine of the pool l4 has a free GPU" in (found.reason or "")
