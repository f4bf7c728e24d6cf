"""A user's folder over the rig: an environment file, models, and `sluice` as commands against the cluster.

Nothing of the product is replaced: each command is a process that reaches the cluster through a kubeconfig, as from a
person's machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from environments.names import ENDPOINT_LABEL, SLOT_LABEL, namespace, route_name
from reconciler.compose import Composed, compose
from reconciler.platforms.kubernetes.pods import ready
from reconciler.platforms.kubernetes.route import weights_of
from reconciler.registries.digests import DigestCache, content_digest
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.rig.rig import Rig
from tests.support.lifeline import dies_with_parent
from tests.support.processes import ROOT
from tests.support.servers.doubles import model_folder

ENVIRONMENT, REGION = "cluster", "local"
PATIENCE_S = 300.0
_PROGRAM = (sys.executable, "-m", "reconciler.cli.main")
_ROUTE = ("gateway.networking.k8s.io/v1", "HTTPRoute")
_IMAGE = "registry.example.com/sluice/vllm@sha256:" + "0" * 64
ROLLOUT: Mapping[str, Any] = {
    "steps_pct": [10, 50],
    "step_min_s": 1,
    "step_max_s": 180,
    "start_timeout_s": 120,
    "warmup_requests": 2,
    "bake_s": 2,
    "judge": {
        "tick_s": 1,
        "warmup_s": 0,
        "protect": [{"metric": "error_rate", "ratio": 3}, {"metric": "ttft", "ratio": 3}],
    },
}
"""Decides within seconds at 100 requests a second, and forgives a busy machine."""


def declared(endpoints: Mapping[str, str], *, replicas: int = 2, **rollout: Any) -> dict[str, Any]:
    """Return an environment of endpoints on vLLM in one cluster; `endpoints` maps each to its team."""
    pool = {"gpu": "L4", "instance": "g6.12xlarge", "gpus_per_node": 16, "vram_gib": 1, "nodes": {"min": 0, "max": 4}}
    place = {"platform": "kubernetes", "context": "test", "gpu_pools": {"l4": pool}, "model_bucket": "s3://models"}

    def endpoint(team: str) -> dict[str, Any]:
        return {
            "team": team,
            "runtime": "vllm",
            "pool": "l4",
            "replicas": {"min": replicas, "max": 8},
            "slo": {"ttft_p95_ms": 20000, "error_rate": 0.05},
            "release": {"model": "file:models/v1"},
            "rollout": {**json.loads(json.dumps(ROLLOUT)), **rollout},
        }

    return {
        "environment": ENVIRONMENT,
        "owner": "you",
        "store": f"sqlite:///.sluice/{ENVIRONMENT}.db",
        "regions": {REGION: place},
        "endpoints": {name: endpoint(team) for name, team in endpoints.items()},
        "infrastructure": {"images": {"vllm": _IMAGE}},
    }


class Stage:
    """The folder, and hands on the cluster. `spec` is what is declared; change it and call `declare`.

    `endpoint` is the first one that it declares, `namespace` that one's.
    """

    def __init__(self, rig: Rig, folder: Path, spec: dict[str, Any]) -> None:
        self.rig, self.folder, self.spec = rig, folder, spec
        self.endpoint, first = next(iter(spec["endpoints"].items()))
        self.namespace = namespace(spec["environment"], first["team"])
        self._file = folder / "environments" / f"{spec['environment']}.yaml"
        self._file.parent.mkdir(parents=True)
        (folder / "models").mkdir()
        self.model("v1")

    def model(self, name: str, **faults: Any) -> str:
        """Make a model with faults of its servers, or change the faults of one; return what clients know it by."""
        folder = self.folder / "models" / name
        if not folder.exists():
            model_folder(folder.parent, name, content=name)
        cache = DigestCache(self.folder / "digests.json")
        digest = content_digest(folder, cache, ref=f"file:models/{name}", kind="model").removeprefix("sha256:")
        self.rig.faults(digest, **faults)
        return digest

    def declare(self, model: str, **others: str) -> None:
        """Write the environment file with this model at every endpoint but `others`; JSON is YAML."""
        for name, endpoint in self.spec["endpoints"].items():
            endpoint["release"]["model"] = f"file:models/{others.get(name, model)}"
        self._file.write_text(json.dumps(self.spec, indent=1))

    def begin(self, *words: str, **streams: Any) -> subprocess.Popen[str]:
        """Start a command and return while it runs; it dies with this process."""
        return subprocess.Popen(
            [*_PROGRAM, *words],
            cwd=self.folder,
            env=self.environ(),
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=dies_with_parent(),
            **streams,
        )

    def run(self, *words: str, code: int = 0) -> str:
        """Call a command, check its exit code and return what it said."""
        process = self.begin(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, f"sluice {' '.join(words)} exited {process.returncode}, not {code}\n{said}"
        assert "Traceback" not in said, said
        return said

    def environ(self) -> dict[str, str]:
        """Return the variables of every command."""
        ours = {"KUBECONFIG": self.rig.plane.kubeconfig, "SLUICE_HOME": self.folder / ".sluice", "PYTHONPATH": ROOT}
        ours |= {"SLUICE_ENVIRONMENTS": self._file.parent}
        return os.environ | {name: str(value) for name, value in ours.items()}

    def compose(self) -> Composed:
        """Return the ports of the environment as a command composes them; `KUBECONFIG` has to be set."""
        from reconciler.cli.common import load_environment

        return compose(load_environment(None, self._file))

    def weight(self, slot: str = "b", endpoint: str = "") -> float:
        """Return a slot's share of the traffic in percent, as the route of the first or another endpoint says."""
        name = endpoint or self.endpoint
        return weights_of(self.rig.plane.api.get(*_ROUTE, route_name(name), self.namespace), name)[slot]

    def pods(self, slot: str) -> list[Body]:
        """Return the pods of a slot of the first endpoint."""
        labels = f"{ENDPOINT_LABEL}={self.endpoint},{SLOT_LABEL}={slot}"
        return self.rig.plane.api.list("v1", "Pod", self.namespace, labels=labels)

    def ready(self, slot: str) -> int:
        """Return how many pods of a slot are ready."""
        return sum(ready(pod) for pod in self.pods(slot))

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds; fail after some minutes."""
        self.rig.plane.wait_for(what, holds, within_s=PATIENCE_S)

    def machines_of(self, slot: str) -> set[str]:
        """Return the names of the machines on which a slot's servers are."""
        return {pod["spec"]["nodeName"] for pod in self.pods(slot)}
