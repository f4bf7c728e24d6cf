"""A region of the platform `kubernetes` on a real control plane with fake machines, with hands behind its back."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from environments.names import ENDPOINT_LABEL, POOL_LABEL, SLOT_LABEL, Address, namespace, slot_object
from environments.spec import EnvironmentSpec
from reconciler.core.model.release import Artifact, Lineage, Release
from reconciler.kubernetes.client import KubeClient, open_client
from reconciler.platforms.kubernetes.platform import KubernetesPlatform
from reconciler.platforms.kubernetes.traffic import Told
from reconciler.ports import Files, Runtime, finished
from reconciler.runtimes.triton.runtime import TritonRuntime
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.hands import Hands
from tests.support.worlds import serve

ENVIRONMENT, REGION = "test", "local"
IMAGE = "registry.example.com/sluice/vllm@sha256:" + "0" * 64
TRITON_IMAGE = "registry.example.com/sluice/triton@sha256:" + "1" * 64
ROUTE = ("gateway.networking.k8s.io/v1", "HTTPRoute", "chat")
_numbers = itertools.count(1)


class NoTraffic:
    """`Stats` of a gateway without traffic: pods of fake machines have no network, so there is none to count."""

    def __init__(self, client: object) -> None:
        pass

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return no counters."""
        return Told({})


def declared(team: str, **region: Any) -> dict[str, Any]:
    """Return an environment file of two endpoints in one cluster."""
    endpoint = {
        "team": team,
        "runtime": "vllm",
        "pool": "l4",
        "release": {"model": "mlflow:one/1"},
        "replicas": {"min": 1, "max": 4},
    }
    pool = {"gpu": "L4", "instance": "g6.2xlarge", "gpus_per_node": 4, "vram_gib": 1, "nodes": {"min": 0, "max": 2}}
    place = {"platform": "kubernetes", "context": "test", "gpu_pools": {"l4": pool}, "model_bucket": "s3://models"}
    return {
        "environment": ENVIRONMENT,
        "owner": "tests",
        "store": "sqlite:///.sluice/test.db",
        "registry": {"mlflow": "http://127.0.0.1:9"},
        "regions": {REGION: place | region},
        "endpoints": {"chat": endpoint, "other": endpoint},
        "infrastructure": {"images": {"vllm": IMAGE, "triton": TRITON_IMAGE}},
    }


class KubernetesWorld:
    """A region in a namespace of its own. Its traffic is not measured: `traffic` is a gateway's without requests."""

    def __init__(self, plane: ControlPlane, *, stats: Any = NoTraffic, **region: Any) -> None:
        team = f"t{os.getpid()}-{next(_numbers)}"
        self.plane, self.stats, self.kubeconfig = plane, stats, plane.kubeconfig
        self.address = Address(ENVIRONMENT, REGION, "chat")
        self.declared = declared(team, **region)
        self.spec = EnvironmentSpec.model_validate(self.declared)
        self.namespace = namespace(ENVIRONMENT, team)
        self.hands = Hands(plane, self.namespace, ENVIRONMENT)
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": self.namespace, "labels": restricted}
        plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self.platforms: list[KubernetesPlatform] = []
        self.models: Files | None = None
        self.platform = self.opened()

    def opened(self) -> KubernetesPlatform:
        """Return a new platform object for the same region, as a new process would make."""
        runtimes: dict[str, Runtime] = {"vllm": VllmRuntime(), "triton": TritonRuntime()}

        async def connect() -> KubeClient:
            before, os.environ["KUBECONFIG"] = os.environ.get("KUBECONFIG"), str(self.kubeconfig)
            try:
                client = open_client("test", region=f"{ENVIRONMENT}/{REGION}")
            finally:
                os.environ.pop("KUBECONFIG") if before is None else os.environ.update(KUBECONFIG=before)
            return client

        made = KubernetesPlatform(
            self.spec, REGION, runtimes.__getitem__, connect, stats=self.stats, models=self.models
        )
        self.platforms.append(made)
        return made

    def chat(self, **declared: Any) -> None:
        """Declare the endpoint `chat` otherwise, and open the region anew."""
        found = self.spec.endpoints["chat"].model_copy(update=declared)
        self.spec = self.spec.model_copy(update={"endpoints": {**self.spec.endpoints, "chat": found}})
        self.platform = self.opened()

    async def close(self) -> None:
        """End the watches of every platform object that was opened."""
        for platform in self.platforms:
            await platform.close()

    def release(self, word: str, endpoint: str = "chat", **faults: object) -> Release:
        """Return a release; one that is `never_ready` does not answer its readiness probe."""
        digest = f"sha256:{word.encode().hex():0<64}"
        lineage = {"model": Lineage(source=f"mlflow:{word}/1")}
        found = Release(endpoint, "vllm", Artifact(f"mlflow:{word}/1", digest), lineage=lineage)
        if faults.get("never_ready"):
            self.hands.born_shy.add(found.id)
            self.hands.shy.add(found.id)
        return found

    async def fault(self, slot: str, **faults: object) -> None:
        """Change whether the slot's servers answer."""
        ready = not faults.get("never_ready")
        self.hands.shy.clear()
        self.hands.server(self._labels(slot), ready=ready, started=True)

    def crash(self, slot: str) -> None:
        """Let the slot's server die; it is restarted."""
        self.hands.crash(self._labels(slot))

    def kill(self, slot: str) -> None:
        """Delete the slot's Deployment by hand: nothing brings its servers back."""
        self.plane.api.delete("apps/v1", "Deployment", slot_object("chat", slot), self.namespace)

    def deployment(self, slot: str) -> Mapping[str, Any]:
        """Return a slot's Deployment as it is in the cluster."""
        found = self.plane.api.get("apps/v1", "Deployment", slot_object("chat", slot), self.namespace)
        assert found is not None
        return found

    def _labels(self, slot: str) -> str:
        return f"{ENDPOINT_LABEL}=chat,{SLOT_LABEL}={slot}"


@contextlib.asynccontextmanager
async def on_a_cluster(plane: ControlPlane, **declared: Any) -> AsyncIterator[KubernetesWorld]:
    """Give an empty region in a namespace of its own, with hands at work."""
    world = KubernetesWorld(plane, **declared)
    with world.hands.at_work():
        try:
            yield world
        finally:
            await world.close()
    plane.api.delete("v1", "Namespace", world.namespace)


def make_machines(plane: ControlPlane, *, count: int = 1, gpus: int = 32) -> None:
    """Make machines of the pool `l4`."""
    for number in range(count):
        plane.add_gpu_node(f"l4-{number}", gpus=gpus, labels={POOL_LABEL: "l4"})


@pytest.fixture(name="world")
async def world_on_a_cluster(cluster: ControlPlane) -> AsyncIterator[KubernetesWorld]:
    """Return an empty region."""
    async with on_a_cluster(cluster) as found:
        yield found


def live_route(world: KubernetesWorld) -> Body:
    """Return the endpoint's route as it is in the cluster."""
    found = world.plane.api.get(*ROUTE, world.namespace)
    assert found is not None
    return found


async def serving(world: KubernetesWorld) -> None:
    """Have slot a serve everything."""
    await serve(world, "a", "one")
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
