"""What stands in for KEDA in a namespace: it holds Deployments to their ScaledObjects, through `scale` as KEDA does.

What it does of a paused one is what KEDA's documentation says: it scales to the number, and leaves it. Requests are a
test's: `desired` says how many servers they ask for.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.stand_in import StandIn

SCALED = ("keda.sh/v1alpha1", "ScaledObject")
MANAGER = "keda"


class Keda(StandIn):
    """KEDA at work in one namespace. `desired` is by Deployment; without an entry it is the lower bound."""

    passing = (404, 409, 429, 503)  # the last two of a definition that is quite new

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        plane.apply_crds(only=("scaledobjects",))
        super().__init__(plane, namespace)
        self._plane = plane
        self.desired: dict[str, int] = {}

    def scale(self, name: str, notes: Mapping[str, str] | None = None, *, least: int = 1, most: int = 4) -> None:
        """Make a ScaledObject as the stacks do: under the name of what it scales."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        trigger = {"type": "cron", "metadata": {"timezone": "UTC", "start": "0 1 * * *", "end": "0 2 * * *"}}
        spec = {"scaleTargetRef": target, "minReplicaCount": least, "maxReplicaCount": most, "triggers": [trigger]}
        metadata = {"name": name, "namespace": self._namespace, "annotations": dict(notes or {})}
        body = {"apiVersion": SCALED[0], "kind": SCALED[1], "metadata": metadata, "spec": spec}
        self._plane.api.apply(body, manager="pulumi-kubernetes")

    def scaled(self, name: str) -> Body:
        """Return a ScaledObject as it is."""
        found = self._plane.api.get(*SCALED, name, self._namespace)
        assert found is not None
        return found

    def turn(self) -> None:
        """Hold every Deployment to its ScaledObject."""
        for scaled in self._api.list(*SCALED, self._namespace):
            self._hold(scaled)

    def _hold(self, scaled: Body) -> None:
        name, spec = scaled["spec"]["scaleTargetRef"]["name"], scaled["spec"]
        found = self._api.get("apps/v1", "Deployment", name, self._namespace)
        if found is None:
            return
        wanted = min(max(self.desired.get(name, 0), spec["minReplicaCount"]), spec["maxReplicaCount"])
        paused = scaled["metadata"].get("annotations", {}).get("autoscaling.keda.sh/paused-replicas")
        wanted = int(paused) if paused is not None else wanted
        if found["spec"]["replicas"] != wanted:
            metadata = {"name": name, "namespace": self._namespace}
            body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": wanted}}
            self._api.merge(body, manager=MANAGER, subresource="scale")
