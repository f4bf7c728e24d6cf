"""Placements, releases and pods for tests of the platform `kubernetes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.names import ENDPOINT_LABEL, POOL_LABEL, RELEASE_LABEL, SLOT_LABEL, Address
from environments.spec import GpuPool, NodeBounds
from reconciler.core.model.release import Artifact, Release
from reconciler.platforms.kubernetes.artifacts import CLAIM, Source
from reconciler.platforms.kubernetes.placement import GatewayRef, Placement
from reconciler.platforms.kubernetes.pod import Brought
from reconciler.ports import ServerOptions, SlotAddress

ADDRESS = Address("prod", "eu-west-1", "chat")
SLOT = SlotAddress(ADDRESS, "a")
DIGEST = "sha256:" + "ab" * 32
IMAGE = "registry.example.com/sluice/vllm@sha256:" + "0" * 64
MODEL_IMAGE = "registry.example.com/models/chat@sha256:" + "1" * 64
GATEWAY = GatewayRef("sluice-prod", "sluice-gateway", "https")
POOL = GpuPool(gpu="L4", instance="g6.2xlarge", gpus_per_node=1, vram_gib=24, nodes=NodeBounds(min=1, max=4))


def place(**changed: Any) -> Placement:
    """Return where an endpoint stands; `changed` are fields that differ."""
    known: dict[str, Any] = {
        "namespace": "support-prod",
        "region": "eu-west-1",
        "runtime": "vllm",
        "image": IMAGE,
        "pool_name": "l4",
        "pool": POOL,
    }
    return Placement(**known | changed)


def release(word: str = "one", **changed: Any) -> Release:
    """Return a release of the endpoint `chat`."""
    return Release("chat", "vllm", Artifact(f"mlflow:{word}/1", DIGEST), **changed)


def brought(held: Release | None = None, **sources: Source) -> Brought:
    """Return a release whose model comes from the claim, unless `sources` say otherwise."""
    return Brought(held or release(), sources or {"model": Source(CLAIM, "ab" * 32, "tests")})


def options(*arguments: str) -> ServerOptions:
    """Return what a runtime would tell a server."""
    return ServerOptions(arguments or ("/models/model", "--port", "8000"))


def pod(name: str = "chat-a-1", *, of: Release | None = None, slot: str = "a", **status: Any) -> dict[str, Any]:
    """Return a pod as the API server gives it; `status` is the status of its one container."""
    labels = {ENDPOINT_LABEL: "chat", SLOT_LABEL: slot, RELEASE_LABEL: (of or release()).id}
    ready = bool(status.pop("ready", False))
    placed = {"type": "PodScheduled", "status": "True"}
    return {
        "metadata": {"name": name, "namespace": "support-prod", "labels": labels},
        "spec": {"nodeName": "n1", "nodeSelector": {POOL_LABEL: "l4"}},
        "status": {
            "phase": "Running",
            "podIP": "10.244.0.7",
            "conditions": [placed, {"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "server", "restartCount": 0, "started": ready, "state": {"running": {}}, **status}
            ],
        },
    }


def pending(message: str, *, pool: str = "l4", name: str = "chat-a-1") -> dict[str, Any]:
    """Return a pod that the scheduler cannot place."""
    found = pod(name)
    found["spec"] = {"nodeSelector": {POOL_LABEL: pool}}
    found["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    return found


def event(reason: str, message: str) -> Mapping[str, Any]:
    """Return an event about a pod."""
    return {"reason": reason, "message": message}
