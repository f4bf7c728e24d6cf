"""A server that is lost with its machine says so, and what fails there is not counted against its release."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.model.observed import ServerState
from reconciler.platforms.kubernetes.machines import blameless, lost_machines, told_off
from reconciler.platforms.kubernetes.pending import Cluster
from reconciler.platforms.kubernetes.pods import replica
from tests.unit.kubernetes.made import pod


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
