"""The whole rig: a control plane, machines, kubelets, Envoy Gateway and Envoy for one environment, in a network."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.names import POOL_LABEL
from environments.spec import EnvironmentSpec
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.kubernetes.rig.clients import Clients, clients
from tests.support.kubernetes.rig.gateway import LISTENER_PORT, running_gateway
from tests.support.kubernetes.rig.netns import netns, start
from tests.support.kubernetes.rig.pods import set_faults
from tests.support.kubernetes.rig.stack import stack_objects
from tests.support.processes import ROOT

HURRY_S = 2.0
_CRDS = (
    "gatewayclasses",
    "gateways",
    "httproutes",
    "referencegrants",
    "envoyproxies",
    "clienttrafficpolicies",
    "backendtrafficpolicies",
    "securitypolicies",
)
"""Envoy Gateway leaves out what it finds no definition of. The largest takes anything: other tests judge by it."""
_START_S = 60.0


@dataclass(frozen=True)
class Rig:
    """A running cluster. `models` holds a folder for each model that servers were asked for, with its faults."""

    plane: ControlPlane
    models: Path

    @property
    def gateway_port(self) -> int:
        """Return the port of this machine's loopback at which clients outside the cluster reach the gateway."""
        return self.plane.place.outside(LISTENER_PORT)

    def faults(self, model: str, **faults: Any) -> None:
        """Say what is wrong with the servers of a model from now on; its name is the digest of its content."""
        set_faults(self.models, model, **faults)

    def clients(
        self, *, rate_rps: float, tokens: int = 3, endpoint: str = "chat"
    ) -> contextlib.AbstractContextManager[Clients]:
        """Send streams from inside the pods' network while a block runs."""
        return clients(self.plane, rate_rps=rate_rps, tokens=tokens, endpoint=endpoint)


@contextlib.contextmanager
def traffic_rig(
    declared: Mapping[str, Any], *, region: str = "local", machines: int = 3, hurry_s: float = HURRY_S
) -> Iterator[Rig]:
    """Run everything until the block ends; whatever is started dies with this process, however it ends.

    Pods pause at most `hurry_s` before they end, where production's pause longer.
    """
    spec = EnvironmentSpec.model_validate(declared)
    objects = stack_objects(spec, region)
    with netns() as place, control_plane(place=place) as plane:
        plane.apply_crds("gateway-api", "envoy-gateway", only=_CRDS, loose=("envoyproxies",))
        for number in range(machines):
            name = f"l4-{number}"
            spread = {"topology.kubernetes.io/zone": f"zone-{number}", "kubernetes.io/hostname": name}
            plane.add_gpu_node(name, gpus=16, labels={POOL_LABEL: "l4", **spread})
        models = plane.folder / "models"
        models.mkdir()
        with swept(plane.folder), _kubelet(plane, models, hurry_s), running_gateway(plane, spec.environment, objects):
            yield Rig(plane, models)


@contextlib.contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Have a folder removed when this process is gone, however it went: a pipe that only it holds open ends then."""
    script = 'cat >/dev/null; rm -rf "$0"'
    broom = subprocess.Popen(["sh", "-c", script, str(folder)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        broom.communicate()


@contextlib.contextmanager
def _kubelet(plane: ControlPlane, models: Path, hurry_s: float) -> Iterator[None]:
    log = plane.folder / "kubelet.log"
    module = [sys.executable, "-m", "tests.support.kubernetes.rig.kubelet"]
    words = [*module, str(plane.kubeconfig_there), str(models), str(hurry_s)]
    with log.open("wb") as out:
        process = start(plane.place.command(words, ROOT), out.fileno())
    try:
        deadline = time.monotonic() + _START_S
        while "ready" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the kubelet did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()
