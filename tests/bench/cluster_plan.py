"""How long a plan takes that reads clusters, and its memory: `python -m tests.bench.cluster_plan [ENDPOINTS] [RUNS]`.

Whole processes of `sluice plan` against real API servers, without controllers: 1,000 endpoints of one region with
nothing to do, and the shipped production on two clusters. `--profile` prints where the first one's time goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.load import load
from environments.names import SLOT_PORT, Address, namespace
from environments.spec import EnvironmentSpec
from policies.catalog import known_ids
from reconciler.compose import compose
from reconciler.core.model.release import Release
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.artifacts import CLAIM, Source
from reconciler.platforms.kubernetes.placement import gateway_of, placement
from reconciler.platforms.kubernetes.pod import Brought
from reconciler.platforms.kubernetes.route import Line, route
from reconciler.platforms.kubernetes.workload import workload
from reconciler.ports import SlotAddress
from reconciler.runtimes.vllm import VllmRuntime
from tests.builds.catalog import ROOT
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane, control_plane
from tests.support.kubernetes.hands import CONTROLLER, make_gateway
from tests.support.kubernetes.world import IMAGE
from tests.support.servers.doubles import model_folder

LIMIT_S, LIMIT_MB = 1.5, 300
REGION, TEAMS = "local", 10
PROD_CONTEXTS = {"SLUICE_PROD_EU_CONTEXT": "prod-eu", "SLUICE_PROD_US_CONTEXT": "prod-us"}


@dataclass(frozen=True)
class Run:
    """One process: wall time and time on processors in seconds, its peak memory in MB, and what it printed."""

    seconds: float
    cpu_s: float
    peak_mb: float
    said: str


def main() -> None:
    """Print both figures against their limits."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    endpoints, runs = (*numbers, *(1000, 3)[len(numbers) :])
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors: quiet is below 1")
    with tempfile.TemporaryDirectory() as folder:
        many(Path(folder), endpoints, runs, profiled="--profile" in sys.argv)
    with tempfile.TemporaryDirectory() as folder:
        shipped(Path(folder), runs)


def many(folder: Path, endpoints: int, runs: int, *, profiled: bool) -> None:
    """Measure a region of many endpoints that all serve as declared."""
    file = declare(folder, endpoints)
    with control_plane(controllers=False) as plane:
        environ = {"KUBECONFIG": str(plane.kubeconfig), "SLUICE_HOME": str(folder / ".sluice")}
        fill(plane, file, environ)
        found = [plan(file, environ) for _ in range(runs + 1)]
        assert "Nothing to do" in found[-1].said, found[-1].said[-2000:]
        report(f"sluice plan, {endpoints} endpoints of one cluster", found[1:])
        if profiled:
            print(plan(file, environ, "-m", "cProfile", "-s", "cumulative").said[:6000])


def shipped(folder: Path, runs: int) -> None:
    """Measure the shipped production, nothing of which serves, with a cluster in each of its two regions."""
    file = production(folder)
    with contextlib.ExitStack() as stack:
        planes = [stack.enter_context(control_plane(controllers=False, context=c)) for c in PROD_CONTEXTS.values()]
        for plane in planes:
            make_gateway(plane, "prod")
        environ = PROD_CONTEXTS | {"SLUICE_HOME": str(folder / ".sluice"), "SLUICE_STORE": "sqlite:///.sluice/prod.db"}
        environ["KUBECONFIG"] = os.pathsep.join(str(plane.kubeconfig) for plane in planes)
        found = [plan(file, environ) for _ in range(runs + 1)]
        assert "prod/us-east-1/chat" in found[-1].said, found[-1].said[-2000:]
        report("sluice plan prod, two clusters", found[1:])


def plan(file: Path, environ: Mapping[str, str], *python: str) -> Run:
    """Run `sluice plan` as a process of its own."""
    words = [sys.executable, *python, "-m", "reconciler.cli.main", "plan", "-f", str(file)]
    with tempfile.TemporaryFile() as told:
        began = time.perf_counter()
        process = subprocess.Popen(words, env={**os.environ, **environ}, stdout=told, stderr=told, cwd=ROOT)
        _, _, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        told.seek(0)
        return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, told.read().decode())


def report(what: str, runs: list[Run]) -> None:
    """Print the median of some runs beside the limits."""
    seconds, peak = statistics.median(r.seconds for r in runs), max(r.peak_mb for r in runs)
    each = ", ".join(f"{r.seconds:.2f}" for r in runs)
    cpu_s = statistics.median(r.cpu_s for r in runs)
    print(f"{what}: median {seconds:.2f} s of {each} (limit {LIMIT_S} s), of which {cpu_s:.2f} s on a processor;")
    print(f"    at most {peak:.0f} MB (limit {LIMIT_MB} MB)")


def declare(folder: Path, endpoints: int) -> Path:
    """Write an environment of so many endpoints in one cluster."""
    pool = {"gpu": "L4", "instance": "g6.12xlarge", "gpus_per_node": 4, "vram_gib": 24, "nodes": {"min": 0, "max": 500}}
    region = {"platform": "kubernetes", "context": "test", "gpu_pools": {"l4": pool}}
    one = {"runtime": "vllm", "pool": "l4", "release": {"model": "file:models/one"}, "replicas": {"min": 1, "max": 2}}
    declared = {
        "environment": "bench",
        "owner": "bench",
        "store": "sqlite:///.sluice/bench.db",
        "regions": {REGION: region},
        "endpoints": {f"e{n:04d}": {"team": f"t{n % TEAMS}", **one} for n in range(endpoints)},
        "infrastructure": {"images": {"vllm": IMAGE}},
    }
    model_folder(folder / "models", "one")
    return written(folder / "environments" / "bench.yaml", declared)


def fill(plane: ControlPlane, file: Path, environ: Mapping[str, str]) -> None:
    """Put what the file declares into a cluster, as it stands when all of it serves."""
    loaded = load(file, environ={}, policy_ids=known_ids())
    spec = loaded.spec
    make_gateway(plane, spec.environment)
    for team in range(TEAMS):
        metadata = {"name": namespace(spec.environment, f"t{team}")}
        plane.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    with _environ(environ):
        planner = compose(loaded).planner()
        releases, _ = asyncio.run(planner.releases(list(spec.endpoints)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: serve(plane, spec, releases[name]), spec.endpoints))


def serve(plane: ControlPlane, spec: EnvironmentSpec, release: Release) -> None:
    """Make the objects of one endpoint whose slot `a` serves with one server."""
    address = Address(spec.environment, REGION, release.endpoint)
    slot, place = SlotAddress(address, "a"), placement(spec, REGION, release.endpoint)
    brought = Brought(release, {"model": Source(CLAIM, "x", "bench")})
    options = VllmRuntime().options(release, paths=brought.paths(), host="0.0.0.0", port=SLOT_PORT)
    made = plane.api.apply(workload(slot, brought, options, place, replicas=1, fence=1), manager="sluice")
    pod = {"name": f"{release.endpoint}-a-1", "namespace": place.namespace, "labels": made["metadata"]["labels"]}
    body: Body = {"apiVersion": "v1", "kind": "Pod", "metadata": pod}
    plane.api.apply({**body, "spec": made["spec"]["template"]["spec"] | {"nodeName": "n1"}})
    conditions = [{"type": "Ready", "status": "True"}]
    running = {"name": "server", "image": IMAGE, "imageID": "", "ready": True, "started": True, "restartCount": 0}
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [running]}
    plane.api.apply({**body, "status": status}, status=True)
    text = marks.release_text(release)
    line = Line({"a": 100.0, "b": 0.0}, {}, {"a": text})
    hung = plane.api.apply(route(address, place.namespace, gateway_of(spec, REGION), line, fence=1), manager="sluice")
    said: Body = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
    said |= {"observedGeneration": 1, "lastTransitionTime": hung["metadata"]["creationTimestamp"]}
    parent = {"parentRef": hung["spec"]["parentRefs"][0], "controllerName": CONTROLLER, "conditions": [said]}
    named = {key: hung["metadata"][key] for key in ("name", "namespace")}
    kind = {key: hung[key] for key in ("apiVersion", "kind")}
    plane.api.apply({**kind, "metadata": named, "status": {"parents": [parent]}}, manager="envoy", status=True)


def production(folder: Path) -> Path:
    """Write the shipped production with references that lie in the folder: no registry is part of the figure."""
    import yaml

    for part in ("environments", "loadtests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    found = yaml.safe_load((folder / "environments" / "prod.yaml").read_text())
    model_folder(folder / "models", "one")
    (folder / "models" / "text.txt").write_text("Be brief.")
    for endpoint in found["endpoints"].values():
        release = endpoint["release"]
        release["model"] = "file:models/one"
        release["prompts"] = dict.fromkeys(release.get("prompts", {}), "file:models/text.txt")
        for without in ("adapters", "index"):
            release.pop(without, None)
    return written(folder / "environments" / "prod.yaml", found)


def written(path: Path, declared: Mapping[str, Any]) -> Path:
    """Write a file of YAML; JSON is some."""
    import json

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(declared, default=lambda moment: moment.isoformat()))
    return path


@contextlib.contextmanager
def _environ(changed: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


if __name__ == "__main__":
    main()
