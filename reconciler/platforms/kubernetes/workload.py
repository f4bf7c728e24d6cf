"""A slot as Kubernetes objects: a Deployment, or a LeaderWorkerSet where a replica spans machines. Pure.

The pods of a slot are of one release for as long as its workload lives: another release is another workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.names import (
    FIELD_MANAGER,
    RELEASE_LABEL,
    SLOT_PORT,
    SLOT_PORT_NAME,
    slot_labels,
    slot_object,
)
from reconciler.core.canonical import Json
from reconciler.kubernetes.kinds import DEPLOYMENT, LEADER_WORKER_SET, Kind
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.placement import Placement
from reconciler.platforms.kubernetes.pod import Brought, pod_spec, startup_s
from reconciler.platforms.kubernetes.pods import WORKER_INDEX
from reconciler.ports import ServerOptions, SlotAddress


def kind_of(place: Placement) -> Kind:
    """Return the kind of an endpoint's workloads."""
    return LEADER_WORKER_SET if place.workers > 1 else DEPLOYMENT


def workload(
    slot: SlotAddress, brought: Brought, options: ServerOptions, place: Placement, *, replicas: int, fence: int
) -> Json:
    """Return the workload that runs a release in a slot."""
    kind = kind_of(place)
    labels = {**slot_labels(slot.address.endpoint, slot.slot), RELEASE_LABEL: brought.release.id}
    pod = pod_spec(brought, options, place, labels=labels, endpoint=slot.address.endpoint)
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = _groups(template, place) if place.workers > 1 else _deployment(slot, template, brought, place)
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": slot_object(slot.address.endpoint, slot.slot),
            "namespace": place.namespace,
            "labels": labels,
            "annotations": {
                marks.ADDRESS: str(slot),
                marks.FENCE: str(fence),
                marks.RELEASE: marks.release_text(brought.release),
            },
        },
        "spec": {"replicas": replicas, **spec},
    }


def service(slot: SlotAddress, place: Placement) -> Json:
    """Return the Service of a slot, as the stacks make it; a group of machines answers through its leader."""
    labels = slot_labels(slot.address.endpoint, slot.slot)
    selector = labels | ({WORKER_INDEX: "0"} if place.workers > 1 else {})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": slot_object(slot.address.endpoint, slot.slot),
            "namespace": place.namespace,
            "labels": labels,
            "annotations": {marks.ADDRESS: str(slot)},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": SLOT_PORT_NAME, "port": SLOT_PORT, "targetPort": SLOT_PORT}],
        },
    }


def _deployment(slot: SlotAddress, template: Json, brought: Brought, place: Placement) -> Json:
    return {
        "selector": {"matchLabels": slot_labels(slot.address.endpoint, slot.slot)},
        # Whatever changes a template by hand gets no mix of two releases, and no more GPUs than the slot has.
        "strategy": {"type": "Recreate"},
        "revisionHistoryLimit": 0,
        "progressDeadlineSeconds": int(startup_s(brought, place)) + 60,
        "template": template,
    }


def _groups(template: Json, place: Placement) -> Json:
    """Return a LeaderWorkerSet: each replica a group that starts, and starts again, as one."""
    workers = {**template, "spec": _spanning(template["spec"], place, leads=False)}
    leaders = {**template, "spec": _spanning(template["spec"], place, leads=True)}
    return {
        "startupPolicy": "LeaderCreated",
        "leaderWorkerTemplate": {
            "size": place.workers,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leaders,
            "workerTemplate": workers,
        },
    }


def _spanning(pod: Json, place: Placement, *, leads: bool) -> Json:
    """Return a pod that holds one machine's part of a model; only the leader answers, so only it is probed."""
    (container,) = pod["containers"]
    rank = ["--nnodes", str(place.workers), "--node-rank", "$(LWS_WORKER_INDEX)"]
    rank += ["--master-addr", "$(LWS_LEADER_ADDRESS)"]
    changed = {**container, "args": [*container["args"], *rank, *([] if leads else ["--headless"])]}
    if not leads:
        changed = {k: v for k, v in changed.items() if k not in ("startupProbe", "readinessProbe", "livenessProbe")}
    return {**pod, "containers": [changed]}


def replica_owners(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return who else keeps a workload's number of replicas: an autoscaler, or a person with kubectl."""
    entries = body["metadata"].get("managedFields") or ()
    owning = (e for e in entries if "f:replicas" in ((e.get("fieldsV1") or {}).get("f:spec") or {}))
    return tuple(sorted({e["manager"] for e in owning} - {FIELD_MANAGER}))
