"""What stands in for KEDA in a namespace: it holds Deployments to their ScaledObjects, through `scale` as KEDA does.

What it does of a paused one is what KEDA's documentation says: it scales to the number, and leaves it. Requests are a
test's: `desired` says how many servers they ask for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

from tests.support.kubernetes.api import Api, ApiError, Body
from tests.support.kubernetes.control_plane import ControlPlane

SCALED = ("keda.sh/v1alpha1", "ScaledObject")
MANAGER = "keda"
_LOOK_S = 0.1


class Keda:
    """KEDA at work in one namespace. `desired` is by Deployment; without an entry it is the lower bound."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        plane.apply_crds(only=("scaledobjects",))
        self._plane, self._namespace, self._api = plane, namespace, Api(plane.cluster)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.desired: dict[str, int] = {}
        self.problem: Exception | None = None

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Keda]:
        """Act while the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()
            self._api.close()
        if self.problem:
            raise self.problem

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

    def _run(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                for scaled in self._api.list(*SCALED, self._namespace):
                    self._hold(scaled)
            except ApiError as error:
                if error.code not in (404, 409, 429, 503):  # gone, moved meanwhile, or a definition that is quite new
                    self.problem = error
                    return
            except Exception as error:  # noqa: BLE001 - the test is told, at the end
                self.problem = error
                return

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
