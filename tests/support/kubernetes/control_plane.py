"""A control plane of real programs on loopback: etcd, the API server and, unless only the API is wanted, all that acts.

Imports the engines' catalog. Called by tests; everything it starts dies with the process that starts it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.builds.catalog import built
from tests.support.go_programs import GO_ENVIRONMENT
from tests.support.kubernetes import crds
from tests.support.kubernetes.api import Api, Body, Cluster
from tests.support.kubernetes.kubeconfig import write_kubeconfig
from tests.support.kubernetes.place import Loopback, Place
from tests.support.lifeline import dies_with_parent, missing

_TOKEN = "tests-token"
_START_S = 120.0
_TRIES = 3
_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_FAKE = {"kwok.x-k8s.io/node": "fake"}
CRDS = crds.SETS


class DidNotStart(Exception):
    """A program of the control plane ended or never became ready; the text is the end of its log."""


@dataclass
class ControlPlane:
    """A running control plane.

    `cluster` is how to reach it, `kubeconfig` the same as a file, `context` the name of its only context. `place` is
    where its programs run; what runs there, too, takes `kubeconfig_there`.
    """

    folder: Path
    cluster: Cluster
    api: Api
    context: str
    place: Place = field(default_factory=Loopback)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """Return the path of a kubeconfig with full rights."""
        return self.folder / "kubeconfig"

    @property
    def kubeconfig_there(self) -> Path:
        """Return the path of a kubeconfig with full rights for what runs beside the control plane."""
        return self.folder / "kubeconfig-there"

    def apply_crds(self, *sets: str, only: Collection[str] = (), loose: Collection[str] = ()) -> None:
        """Install the named sets of CRDs (all of `crds.SETS` when none is named) and wait until they are served.

        `only` narrows them to some plurals (`podmonitors`), because the large ones cost the API server seconds each;
        those in `loose` take any spec.
        """
        bodies = crds.bodies(sets, only, loose)
        for body in bodies:
            self.api.apply(body)
        self.wait_for("CRDs to be established", lambda: all(self._established(name) for name in crds.names(bodies)))

    def add_gpu_node(
        self,
        name: str,
        *,
        gpus: int = 4,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Add a fake node with that many GPUs and wait until pods can be put on it."""
        resources = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        node: Body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        declared = {"labels": dict(labels or {}), "annotations": _FAKE, "name": name}
        self.api.apply({**node, "metadata": declared, "spec": {"taints": list(taints)}})
        self.api.apply({**node, "status": {"capacity": resources, "allocatable": resources}}, status=True)
        self.wait_for(f"node {name} to be ready", lambda: self._node_ready(name))

    def wait_for(self, what: str, holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it does not, in time.
        """
        deadline = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {within_s:.0f} s for {what}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End every program, the last one started first, and remove what they wrote."""
        self.api.close()
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _established(self, name: str) -> bool:
        found = self.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)
        return found is not None and _condition(found, "Established")

    def _node_ready(self, name: str) -> bool:
        found = self.api.get("v1", "Node", name)
        not_ready = "node.kubernetes.io/not-ready"
        return (
            found is not None
            and _condition(found, "Ready")
            and not any(t["key"] == not_ready for t in found["spec"].get("taints", []))
        )


@contextlib.contextmanager
def control_plane(
    *, controllers: bool = True, context: str = "test", place: Place | None = None
) -> Iterator[ControlPlane]:
    """Run a control plane until the block ends.

    Without `controllers` only etcd and the API server run: enough to judge objects, in a third of the memory. In a
    `place` whose pods have addresses nobody acts for pods here: whoever brings that place does.
    """
    wanted = _PROGRAMS if controllers else _PROGRAMS[:2]
    if lacking := [name for name in wanted if not (built() / "bin" / name).exists()]:
        missing(f"not built: {', '.join(lacking)}", "run `python -m tests.builds.build`, which needs Go")
    plane = _started(controllers=controllers, context=context, place=place or Loopback())
    try:
        yield plane
    finally:
        plane.stop()


def _started(*, controllers: bool, context: str, place: Place) -> ControlPlane:
    """Start in a folder of its own; again, because a free port may be gone when a program comes to take it."""
    problem: DidNotStart | None = None
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix="sluice-k8s-"))
        try:
            return _start(folder, controllers=controllers, context=context, place=place)
        except DidNotStart as error:
            problem = error
            shutil.rmtree(folder, ignore_errors=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    raise problem or DidNotStart("never tried")


def _start(folder: Path, *, controllers: bool, context: str, place: Place) -> ControlPlane:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        port = _start_api_server(folder, processes, place)
        there, cluster = (
            Cluster(f"https://127.0.0.1:{p}", _TOKEN, str(folder / "certs" / "apiserver.crt"), controllers)
            for p in (port, place.outside(port))
        )
        for name, reached in (("kubeconfig", cluster), ("kubeconfig-there", there)):
            given = {"token": reached.token, "authority": reached.certificate, "context": context}
            write_kubeconfig(folder / name, reached.url, **given)
        plane = ControlPlane(folder, cluster, _connected(folder, processes, cluster), context, place, processes)
        if controllers:
            _start_controllers(plane)
    except BaseException:
        for process in processes.values():
            process.kill()
            process.wait()
        raise
    return plane


def _start_api_server(folder: Path, processes: dict[str, subprocess.Popen[bytes]], place: Place) -> int:
    """Start etcd and the API server; return the server's port."""
    client, peer, secure = place.free_ports(3)
    etcd = f"http://127.0.0.1:{client}"
    peers = f"http://127.0.0.1:{peer}"
    processes["etcd"] = _run(
        place,
        folder,
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={etcd}",
        f"--advertise-client-urls={etcd}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    )
    (folder / "tokens.csv").write_text(f'{_TOKEN},admin,1,"system:masters"\n')
    key = _write_signing_key(folder / "service-account.key")
    processes["kube-apiserver"] = _run(
        place,
        folder,
        "kube-apiserver",
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={secure}",
        f"--cert-dir={folder / 'certs'}",
        "--allow-privileged=true",  # as EKS has it; the namespaces decide
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        *(("--advertise-address=127.0.0.1",) if place.pods else ()),  # no route leads out, by which it would find one
        "--endpoint-reconciler-type=none",
        "--disable-admission-plugins=ServiceAccount",
    )
    return secure


def _start_controllers(plane: ControlPlane) -> None:
    """Start everything that acts on objects; none of them opens a port that another checkout could want."""
    folder, place, kubeconfig = plane.folder, plane.place, f"--kubeconfig={plane.kubeconfig_there}"
    stages = sorted((built() / "share" / "kwok").glob("node-*.yaml" if place.pods else "*.yaml"))
    plane.processes["kube-controller-manager"] = _run(
        place,
        folder,
        "kube-controller-manager",
        kubeconfig,
        f"--service-account-private-key-file={folder / 'service-account.key'}",
        "--leader-elect=false",
        "--secure-port=0",
    )
    plane.processes["kube-scheduler"] = _run(
        place, folder, "kube-scheduler", kubeconfig, "--leader-elect=false", "--secure-port=0"
    )
    plane.processes["kwok"] = _run(
        place,
        folder,
        "kwok",
        kubeconfig,
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{place.free_ports(1)[0]}",
        *(f"--config={stage}" for stage in stages),
    )


def _connected(folder: Path, processes: Mapping[str, subprocess.Popen[bytes]], cluster: Cluster) -> Api:
    """Wait until the API server answers; its certificate is there only once it has begun."""
    deadline = time.monotonic() + _START_S
    certificate = Path(cluster.certificate)
    while time.monotonic() < deadline and all(p.poll() is None for p in processes.values()):
        if certificate.exists() and certificate.stat().st_size and (folder / "certs" / "apiserver.key").exists():
            api = Api(cluster)
            if api.ready():
                return api
            api.close()
        time.sleep(0.1)
    logs = [f"{name}: {(folder / f'{name}.log').read_text()[-1500:]}" for name in processes]
    raise DidNotStart("\n".join(logs))


def _run(place: Place, folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            place.command([str(built() / "bin" / name), *arguments], folder),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, **GO_ENVIRONMENT},
            preexec_fn=dies_with_parent(),
        )


def _write_signing_key(path: Path) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.write_bytes(text)
    return path


def _condition(body: Body, name: str) -> bool:
    conditions: list[dict[str, Any]] = (body.get("status") or {}).get("conditions") or []
    return any(c["type"] == name and c["status"] == "True" for c in conditions)
