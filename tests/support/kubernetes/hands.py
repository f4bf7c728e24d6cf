"""What acts on a cluster of fake machines in the place of kubelets that know vLLM and of a gateway's controller.

The machines are kwok's: their pods have no processes and no network, so what is asked of a server is set here. The
controller says of a route what Envoy Gateway 1.9 was seen to say; it refuses what that refuses, and passes no traffic.
"""

from __future__ import annotations

from typing import Any

from environments.names import GATEWAY_NAMESPACE, RELEASE_LABEL, gateway_name
from tests.support.kubernetes.api import Api, Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.stand_in import StandIn

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
_ROUTE = ("gateway.networking.k8s.io/v1", "HTTPRoute")


class Hands(StandIn):
    """Holds one namespace's routes and pods to what a test wants.

    Servers of the releases `born_shy` do not answer when they begin; those in `shy` do not answer now. kwok makes each
    ready for a moment: `hidden` counts those that are so no more.
    """

    def __init__(self, plane: ControlPlane, namespace: str, environment: str) -> None:
        super().__init__(plane, namespace)
        self._plane, self._gateway = plane, gateway_name(environment)
        self.born_shy: set[str] = set()
        self.shy: set[str] = set()
        self.hidden = 0
        self.controls = True

    def server(self, slot_labels: str, **status: Any) -> None:
        """Set the status of the servers that labels find: `ready`, `started`, `restartCount`, `state`, `lastState`."""
        for pod in self._plane.api.list("v1", "Pod", self._namespace, labels=slot_labels):
            if "deletionTimestamp" not in pod["metadata"]:
                self._set(self._plane.api, pod, status)

    def crash(self, slot_labels: str) -> None:
        """Let the servers that labels find end and be restarted; they begin as they began."""
        for pod in self._plane.api.list("v1", "Pod", self._namespace, labels=slot_labels):
            count = _status(pod).get("restartCount", 0) + 1
            self.shy |= self.born_shy & {pod["metadata"]["labels"].get(RELEASE_LABEL)}
            self._set(self._plane.api, pod, {"restartCount": count, "ready": False, "started": False})
            if pod["metadata"]["labels"].get(RELEASE_LABEL) not in self.shy:
                self._set(self._plane.api, pod, {"restartCount": count, "ready": True, "started": True})

    def turn(self) -> None:
        """Keep the shy from being ready, and say of each route what its controller would."""
        self._hide()
        if self.controls:
            self._control()

    def _hide(self) -> None:
        """Keep the servers of shy releases from being ready, whom kwok makes ready at once."""
        for name in tuple(self.shy):  # a test adds to it from its own thread
            for pod in self._api.list("v1", "Pod", self._namespace, labels=f"{RELEASE_LABEL}={name}"):
                if _status(pod).get("ready") and "deletionTimestamp" not in pod["metadata"]:
                    self._set(self._api, pod, {"ready": False, "started": False})
                    self.hidden += 1

    def _set(self, api: Api, pod: Body, status: Any) -> None:
        known = _status(pod)
        if not known:
            return
        container = known | {"state": {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}} | status
        ready = str(bool(container["ready"]))
        conditions = [c for c in pod["status"]["conditions"] if c["type"] not in ("Ready", "ContainersReady")]
        conditions += [{"type": name, "status": ready} for name in ("Ready", "ContainersReady")]
        metadata = {key: pod["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        changed = {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}
        api.apply({**body, "status": changed}, status=True)

    def _control(self) -> None:
        """Say of each route what its controller would."""
        hanging = (r for r in self._api.list(*_ROUTE, self._namespace) if r["spec"].get("parentRefs"))
        for route in hanging:
            generation = route["metadata"]["generation"]
            found = self._conditions(route, generation)
            said = [
                (c["type"], c["status"], c.get("observedGeneration"))
                for parent in (route.get("status") or {}).get("parents") or ()
                for c in parent["conditions"]
            ]
            if sorted(said) != sorted((c["type"], c["status"], c["observedGeneration"]) for c in found):
                parent = {
                    "parentRef": route["spec"]["parentRefs"][0],
                    "controllerName": CONTROLLER,
                    "conditions": found,
                }
                metadata = {key: route["metadata"][key] for key in ("name", "namespace", "uid")}
                body = {"apiVersion": _ROUTE[0], "kind": _ROUTE[1], "metadata": metadata}
                self._api.apply({**body, "status": {"parents": [parent]}}, manager="envoy-gateway", status=True)

    def _conditions(self, route: Body, generation: int) -> list[Body]:
        refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
        missing = [r["name"] for r in refs if self._api.get("v1", "Service", r["name"], self._namespace) is None]
        silent = [r["name"] for r in refs if r["weight"] > 0 and not self._answers(r["name"])]
        accepted = route["spec"]["parentRefs"][0]["name"] == self._gateway
        said = [("Accepted", accepted, "Accepted"), ("ResolvedRefs", not missing, "BackendNotFound")]
        if silent:
            said.append(("BackendsAvailable", False, "EndpointsNotFound"))
        return [
            {
                "type": name,
                "status": str(holds),
                "reason": name if holds else reason,
                "message": f"{reason}: {', '.join(missing or silent)}",
                "observedGeneration": generation,
                "lastTransitionTime": route["metadata"]["creationTimestamp"],
            }
            for name, holds, reason in said
        ]

    def _answers(self, service: str) -> bool:
        labels = f"kubernetes.io/service-name={service}"
        slices = self._api.list("discovery.k8s.io/v1", "EndpointSlice", self._namespace, labels=labels)
        return any((e.get("conditions") or {}).get("ready") for s in slices for e in s.get("endpoints") or ())


def make_gateway(plane: ControlPlane, environment: str) -> None:
    """Make the Gateway that the stacks make, of Envoy Gateway's class."""
    plane.apply_crds(only=("gateways", "gatewayclasses", "httproutes"))
    name, api = gateway_name(environment), "gateway.networking.k8s.io/v1"
    plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}})
    plane.api.apply(
        {"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": name}, "spec": {"controllerName": CONTROLLER}}
    )
    listener = {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}}
    spec = {"gatewayClassName": name, "listeners": [listener]}
    metadata = {"name": name, "namespace": GATEWAY_NAMESPACE}
    plane.api.apply({"apiVersion": api, "kind": "Gateway", "metadata": metadata, "spec": spec})


def _status(pod: Body) -> Body:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next(iter(statuses), {})
