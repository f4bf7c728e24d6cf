"""Why a pod does not run, told apart: no machine yet, none possible, no image, a crash loop; with what to do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from environments.names import POOL_LABEL
from environments.spec import GpuPool

_SCALING = ("TriggeredScaleUp", "Nominated", "NominatedNode")
"""Reasons of events with which an autoscaler says that a machine comes: the cluster autoscaler's and Karpenter's."""
_NO_ROOM = re.compile(
    r"max node group size reached|exceed(s|ed)? limits? for nodepool|limits? exceeded|limit reached", re.I
)
_QUOTA = re.compile(r"quota|VcpuLimitExceeded|MaxSpotInstanceCountExceeded|LimitExceeded", re.I)
_SOLD_OUT = re.compile(r"InsufficientInstanceCapacity|InsufficientCapacity|no capacity|sold out", re.I)
_IMAGES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_LINE = 300


@dataclass(frozen=True)
class Cluster:
    """What pods that wait are judged by: events by pod, machines by pool, the pools as declared, and the time.

    `events` are the newest last. `lost` says in words what ails a machine, by its name: those that are well are not
    in it.
    """

    events: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    pools: Mapping[str, GpuPool] = field(default_factory=dict)
    waited_s: Mapping[str, float] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)


def why_unscheduled(pod: Mapping[str, Any], cluster: Cluster) -> str:
    """Return in words why a pod has no machine, and what to do."""
    name = pod["metadata"]["name"]
    said = _scheduler(pod)
    told = " ".join(str(event.get("message", "")) for event in cluster.events.get(name, ()))
    reasons = {event.get("reason") for event in cluster.events.get(name, ())}
    pool_name = ((pod.get("spec") or {}).get("nodeSelector") or {}).get(POOL_LABEL, "")
    pool, have = cluster.pools.get(pool_name), cluster.nodes.get(pool_name, 0)
    if "persistentvolumeclaim" in said.lower():
        return f"its claim is missing: {_line(said)}. Make the claim in the namespace, or declare another weights_from"
    if _SOLD_OUT.search(told):
        return (
            f"the cloud has no machine of the pool {pool_name} to give now. Add further `instances` or zones to the"
            " pool, or wait"
        )
    if _QUOTA.search(told):
        return f"the account's quota is used up: {_line(told)}. Ask for more, or lower another endpoint's replicas"
    if not said:
        return "the scheduler has not looked at it yet"
    lacking = _lacking(said)
    if not lacking:
        return f"no machine takes it: {_line(said)}. `kubectl describe pod {name}` says more"
    if pool and (have >= pool.nodes.max or _NO_ROOM.search(told)):
        return (
            f"the pool {pool_name} is at its maximum: {have} of {pool.nodes.max} machines, none with {lacking}. Raise"
            " its nodes.max, or retire a warm slot"
        )
    waited = cluster.waited_s.get(name, 0.0)
    if reasons & set(_SCALING):
        return f"a machine of the pool {pool_name} is on its way, since {waited:.0f} s. Wait: it takes some minutes"
    return (
        f"no machine of the pool {pool_name or '(none)'} has {lacking}, and none is on its way after {waited:.0f} s."
        " Wait for the autoscaler, or see why it does nothing: `kubectl get nodeclaims`"
    )


def why_waiting(container: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    """Return in words why a container does not run on its machine, and what to do."""
    reason, message = str(waiting.get("reason", "")), _line(str(waiting.get("message", "")))
    if reason in _IMAGES:
        return (
            f"its image cannot be pulled: {message or reason}. Correct the image in `infrastructure.images` (or the"
            " region's `model_images`), or let the nodes read that registry"
        )
    last = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
    if last:
        code, why = last.get("exitCode"), last.get("reason", "")
        words = _line(str(last.get("message") or "")) or "it left no message: look at its log"
        times = int(container.get("restartCount", 0))
        hint = " Give it more memory: a pool with more GPU memory" if why == "OOMKilled" else ""
        return f"it ends again and again ({times} restarts, exit code {code}, {why}): {words}.{hint}".rstrip(".") + "."
    if reason in ("ContainerCreating", "PodInitializing", ""):
        return "its machine fetches the image and its volumes"
    return f"its container waits: {reason} {message}".strip()


def why_no_pods(conditions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return in words why a Deployment cannot make pods at all, None when it can."""
    failed = next((c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"), None)
    if failed is None:
        return None
    message = str(failed.get("message", ""))
    if "exceeded quota" in message:
        return f"the namespace's quota is used up: {_line(message)}. Raise the quota, or retire a warm slot"
    if "violates PodSecurity" in message:
        return f"the namespace refuses the pod: {_line(message)}. Lower its pod security level, or report this"
    return f"Kubernetes refuses the pod: {_line(message)}"


def _scheduler(pod: Mapping[str, Any]) -> str:
    """Return what the scheduler says of a pod that it cannot place."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    said = (c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False")
    return next((str(c.get("message", "")) for c in said), "")


def _lacking(message: str) -> str:
    """Return what machines lack that another machine would have; empty where another one would not help."""
    found = {name.rstrip(".,").lower() for name in re.findall(r"Insufficient (\S+)", message)}
    if any("gpu" in name for name in found):
        return "a free GPU"
    if found:
        return f"enough {' and '.join(sorted(found))} left"
    return "a free GPU" if "untolerated taint" in message or "node affinity/selector" in message else ""


def _line(text: str) -> str:
    """Return a message as one line that is not too long."""
    flat = " ".join(text.split())
    return (flat if len(flat) <= _LINE else flat[: _LINE - 1] + "…").rstrip(".")
