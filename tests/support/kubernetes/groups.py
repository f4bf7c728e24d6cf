"""What acts on LeaderWorkerSets in the place of their controller, and the definition of their kind.

The definition has the fields that Sluice writes and is strict about all others. Source: `api/leaderworkerset/v1` of
kubernetes-sigs/lws 0.10. The controller is not built here: groups are made, recreated and taken away as its
documentation has it (`RecreateGroupOnPodRestart`), without the StatefulSets between.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.kubernetes.api import ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.stand_in import StandIn

LWS = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
_LABEL = "leaderworkerset.sigs.k8s.io"
_POD: Body = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _object(**fields: Body) -> Body:
    return {"type": "object", "properties": fields}


_TEMPLATE = _object(
    size={"type": "integer", "format": "int32", "default": 1, "minimum": 1},
    restartPolicy={"type": "string", "enum": ["RecreateGroupOnPodRestart", "RecreateGroupAfterStart", "None"]},
    leaderTemplate=_POD,
    workerTemplate=_POD,
)
_SPEC = _object(
    replicas={"type": "integer", "format": "int32", "default": 1, "minimum": 0},
    startupPolicy={"type": "string", "enum": ["LeaderCreated", "LeaderReady"]},
    leaderWorkerTemplate=_TEMPLATE,
)


def make_kind(plane: ControlPlane) -> None:
    """Define LeaderWorkerSets, and wait until they are served."""
    name = "leaderworkersets.leaderworkerset.x-k8s.io"
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object(spec=_SPEC, status=_POD)},
        "subresources": {"status": {}, "scale": scale},
    }
    names = {"kind": LWS[1], "plural": "leaderworkersets", "singular": "leaderworkerset", "shortNames": ["lws"]}
    spec = {"group": "leaderworkerset.x-k8s.io", "scope": "Namespaced", "names": names, "versions": [version]}
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    plane.api.apply({**kind, "metadata": {"name": name}, "spec": spec})

    def established() -> bool:
        found = plane.api.get(kind["apiVersion"], kind["kind"], name) or {}
        said = (found.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in said) and listed()

    def listed() -> bool:
        """Return whether they can be listed: established, their storage may still be made."""
        try:
            plane.api.list(*LWS)
        except ApiError as error:
            if error.code not in (429, 503):
                raise
            return False
        return True

    plane.wait_for("LeaderWorkerSets to be served", established)


class Groups(StandIn):
    """Keeps the pods of one namespace's LeaderWorkerSets. A group starts again as one when any of its pods goes."""

    def turn(self) -> None:
        """Make the pods that are lacking, and take away those that are too many, old, or of a group that broke."""
        wanted = {pod["metadata"]["name"]: pod for body in self._sets() for pod in _pods(body)}
        there = {
            p["metadata"]["name"]: p for p in self._api.list("v1", "Pod", self._namespace, labels=f"{_LABEL}/name")
        }
        broken = {_group(pod) for pod in there.values() if "deletionTimestamp" in pod["metadata"] or _restarts(pod)}
        whole = {_group(pod) for pod in there.values()}
        broken |= {_group(pod) for name, pod in wanted.items() if name not in there and _group(pod) in whole}
        for name, pod in there.items():
            old = name in wanted and _release(pod) != _release(wanted[name])
            if (name not in wanted or old or _group(pod) in broken) and "deletionTimestamp" not in pod["metadata"]:
                self._api.delete("v1", "Pod", name, self._namespace)
        for name, pod in wanted.items():
            if name not in there and _group(pod) not in whole:
                self._api.apply(pod, manager="lws")

    def _sets(self) -> list[Body]:
        found = self._api.list(*LWS, self._namespace)
        return [body for body in found if "deletionTimestamp" not in body["metadata"]]


def _pods(body: Body) -> Iterator[Body]:
    """Yield the pods that a LeaderWorkerSet wants."""
    told, name = body["spec"]["leaderWorkerTemplate"], body["metadata"]["name"]
    for group in range(body["spec"]["replicas"]):
        leader = f"{name}-{group}"
        for index in range(told["size"]):
            template = told["workerTemplate" if index else "leaderTemplate"]
            labels = {f"{_LABEL}/name": name, f"{_LABEL}/group-index": str(group), f"{_LABEL}/worker-index": str(index)}
            metadata: dict[str, Any] = {
                "name": f"{leader}-{index}" if index else leader,
                "namespace": body["metadata"]["namespace"],
                "labels": template["metadata"]["labels"] | labels,
            }
            yield {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": _told(template["spec"], leader, index),
            }


def _told(spec: Body, leader: str, index: int) -> Body:
    """Return a pod's spec with what the controller tells each container."""
    own = [{"name": "LWS_LEADER_ADDRESS", "value": leader}, {"name": "LWS_WORKER_INDEX", "value": str(index)}]
    return {**spec, "containers": [{**c, "env": [*own, *c.get("env", [])]} for c in spec["containers"]]}


def _group(pod: Body) -> tuple[str, str]:
    labels = pod["metadata"]["labels"]
    return labels[f"{_LABEL}/name"], labels[f"{_LABEL}/group-index"]


def _release(pod: Body) -> str:
    return str(pod["metadata"]["labels"].get("sluice.dev/release"))


def _restarts(pod: Body) -> int:
    return sum(s.get("restartCount", 0) for s in (pod.get("status") or {}).get("containerStatuses") or ())
