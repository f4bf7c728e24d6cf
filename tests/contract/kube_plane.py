"""The control plane of the contract tests of the Kubernetes client: the API alone, which is what they are about."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reconciler.kubernetes import KubeClient
from reconciler.kubernetes.client import open_client
from reconciler.kubernetes.reflector import Pace
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.kubernetes.kubeconfig import write_kubeconfig

FAST = Pace(idle_s=60.0, first_pause_s=0.1, longest_pause_s=0.5)


@pytest.fixture(scope="module")
def api_plane() -> Iterator[ControlPlane]:
    """Return etcd and an API server."""
    with control_plane(controllers=False) as running:
        yield running


@contextlib.asynccontextmanager
async def client_of(
    plane: ControlPlane, folder: Path, *, port: int = 0, token: str | None = None, pace: Pace = FAST
) -> AsyncIterator[KubeClient]:
    """Return a client of the control plane, through a proxy's port where one is given."""
    server = f"https://127.0.0.1:{port}" if port else plane.cluster.url
    wanted = plane.cluster.token if token is None else token
    path = write_kubeconfig(folder / "kubeconfig", server, token=wanted, authority=plane.cluster.certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        client = open_client("test", region="eu-west-1", pace=pace)
    try:
        yield client
    finally:
        await client.close()


def config_map(name: str, namespace: str = "default", **data: str) -> Body:
    """Return a ConfigMap, labelled for these tests."""
    metadata = {"name": name, "namespace": namespace, "labels": {"suite": "kube"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def namespace(name: str, **labels: str) -> Body:
    """Return a Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
