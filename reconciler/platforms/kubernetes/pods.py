"""A slot's pods as servers: what each one does, how often it restarted, and why it is not ready. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconciler.core.model.observed import Replica, ServerState
from reconciler.platforms.kubernetes.machines import blameless, is_lost, machine_of, told_off
from reconciler.platforms.kubernetes.pending import Cluster, why_unscheduled, why_waiting

WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
GROUP_INDEX = "leaderworkerset.sigs.k8s.io/group-index"


def replica(
    pod: Mapping[str, Any],
    warm: Collection[str],
    cluster: Cluster,
    *,
    workers: Sequence[Mapping[str, Any]] = (),
    url: str | None = None,
) -> Replica:
    """Return a pod as one server of its slot; `warm` are the slot's servers that were warmed up.

    `workers` are the other pods of its group, which starts again as one when any of them ends by itself.
    """
    state = state_of(pod)
    known = server_of(pod) in warm and state in (ServerState.READY, ServerState.SILENT)
    restarts = sum(restarts_of(each) for each in (pod, *workers))
    return Replica(
        pod["metadata"]["name"],
        state,
        known,
        restarts,
        None if state is ServerState.READY else _reason(_speaks((pod, *workers)), state, cluster),
        url if state is ServerState.READY else None,
        _displaced((pod, *workers), cluster) or (not known and restarts == 0 and state is not ServerState.DEAD),
    )


def _speaks(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the pod of a group that says why its leader is not ready: one without a machine, else the leader.

    A group needs all of its machines at once, and its leader waits for the others.
    """
    going = "deletionTimestamp" in pods[0]["metadata"]
    return pods[0] if going else next((each for each in pods if not machine_of(each)), pods[0])


def _displaced(pods: Sequence[Mapping[str, Any]], cluster: Cluster) -> bool:
    """Return whether a server goes with a machine. One without restarts that is cold is new, in the place of another.

    A server that ends by itself is restarted in its pod, and the kubelet counts that: nobody else makes it go.
    """
    return any(blameless(pod, cluster.lost) for pod in pods)


def server_of(pod: Mapping[str, Any]) -> str:
    """Return what tells a pod's present process from those before it: `POD:RESTARTS`, in a group `POD:RESTARTS:UID`.

    The pod that leads a group keeps its name when another one takes its place.
    """
    metadata = pod["metadata"]
    own = f":{metadata['uid']}" if WORKER_INDEX in (metadata.get("labels") or {}) else ""
    return f"{metadata['name']}:{restarts_of(pod)}{own}"


def restarts_of(pod: Mapping[str, Any]) -> int:
    """Return how often the server in a pod ended by itself."""
    return int((_container(pod) or {}).get("restartCount", 0))


def ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod's server answers and the pod is not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    going = "deletionTimestamp" in pod["metadata"]
    return not going and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def state_of(pod: Mapping[str, Any]) -> ServerState:
    """Return what the server in a pod does.

    A server that has passed its startup probe and is not ready is silent; the kubelet forgets that at a restart.
    """
    if "deletionTimestamp" in pod["metadata"]:
        return ServerState.STOPPING
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return ServerState.DEAD
    if ready(pod):
        return ServerState.READY
    found = _container(pod) or {}
    now = found.get("state") or {}
    if "terminated" in now or (now.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
        return ServerState.RESTARTING
    return ServerState.SILENT if found.get("started") else ServerState.STARTING


def _reason(pod: Mapping[str, Any], state: ServerState, cluster: Cluster) -> str:
    taken = told_off(pod)
    if state is ServerState.STOPPING:
        return (
            f"{taken}; it finishes its requests, and another one starts"
            if taken
            else "it finishes its requests and ends"
        )
    if state is ServerState.DEAD:
        status = pod.get("status") or {}
        return f"the pod has ended: {status.get('reason') or status.get('phase')} {status.get('message', '')}".strip()
    if not (pod.get("spec") or {}).get("nodeName"):
        return why_unscheduled(pod, cluster)
    if (ails := cluster.lost.get(machine_of(pod))) and is_lost(ails):
        return f"{ails}; another one starts elsewhere when Kubernetes gives it up, some minutes later"
    found = _container(pod) or {}
    waiting = (found.get("state") or {}).get("waiting") or {}
    if state is ServerState.RESTARTING or waiting.get("reason"):
        return why_waiting(found, waiting)
    if state is ServerState.SILENT:
        return "it was ready and does not answer its readiness probe now"
    return "it loads its model"


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the status of the container with the server, None before its node has taken the pod."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((s for s in statuses if s["name"] == "server"), None) or next(iter(statuses), None)
