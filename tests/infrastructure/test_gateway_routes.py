"""The reconciler's routes under traffic: what Envoy Gateway makes of them is run by Envoy, and its counts are read.

The Gateway is the stack's, the route the reconciler's: the two halves meet here as they do in a cluster.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from environments.infrastructure import GatewaySpec
from environments.names import RELEASE_HEADER, Address, gateway_name, namespace
from reconciler.platforms.kubernetes.placement import GatewayRef, placement
from reconciler.platforms.kubernetes.route import Line, route
from reconciler.platforms.kubernetes.traffic import parse
from reconciler.platforms.kubernetes.workload import service
from reconciler.ports import SlotAddress
from tests.components.test_gateway import gateway
from tests.support.gateway_traffic import STAND_IN, ask, configuration, envoy, free_port, refusals, translated
from tests.unit.policies.fixtures import shipped

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("gateway")]
TEAM, ADDRESS = namespace("prod", "support"), Address("prod", "eu-central-1", "chat")
ENDS = {"a": STAND_IN, "b": "192.0.2.11"}
HERE = {"a": "127.0.0.1", "b": "127.0.0.2"}
IDS = {"a": "chat-1", "b": "chat-2"}
MAKES = {"GatewayClass", "Gateway", "EnvoyProxy"}


@dataclass
class Servers:
    """Two servers of a model; `bad` slots answer with 500."""

    ports: dict[str, int]
    bad: set[str]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Run a server for each slot, which answers with its slot and the path that it was asked for."""
    bad: set[str] = set()

    def handler(slot: str) -> type[BaseHTTPRequestHandler]:
        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = f"{slot} {self.path}".encode()
                self.send_response(500 if slot in bad else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Server

    running = {slot: ThreadingHTTPServer((HERE[slot], 0), handler(slot)) for slot in ENDS}
    for each in running.values():
        threading.Thread(target=each.serve_forever, daemon=True).start()
    yield Servers({slot: each.server_address[1] for slot, each in running.items()}, bad)
    for each in running.values():
        each.shutdown()


def objects(weights: dict[str, float]) -> list[dict[str, Any]]:
    """Return the stack's Gateway, slots with a server each, and the reconciler's route."""
    spec = GatewaySpec(allowed_cidrs=["127.0.0.1/32"], shared_limits=False, proxies=1, proxies_max=1)
    made = gateway(domain=None, spec=spec, endpoints={"support": ["chat"]})
    kept = [
        {key: m.inputs[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in m.inputs}
        for m in made.objects()
        if m.inputs.get("kind") in MAKES
    ]
    for listener in next(body for body in kept if body["kind"] == "Gateway")["spec"]["listeners"]:
        listener["allowedRoutes"]["namespaces"] = {"from": "All"}  # the translator knows no labels of namespaces
    place = placement(shipped("prod"), "eu-central-1", "chat")
    slots = [service(SlotAddress(ADDRESS, slot), place) for slot in ENDS]
    for body, address in zip(slots, ENDS.values(), strict=True):
        body["spec"]["clusterIP"] = address  # the translator sees no pods: a Service's address stands for its one
    ref = GatewayRef(gateway_name("prod"), "sluice-gateway", "http")
    ours = route(ADDRESS, TEAM, ref, Line(weights, IDS, answering=("a", "b")), fence=1)
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (TEAM, "envoy-gateway-system")
    ]
    return [*kept, *spaces, *slots, ours]


@dataclass
class Running:
    """A gateway that runs: its address, and what its proxy counts."""

    url: str
    stats: str

    def slots(self, count: int, **headers: str) -> Counter[str]:
        """Ask so many times; return how often each slot answered."""
        answers = (ask(f"{self.url}/chat/v1/models", headers) for _ in range(count))
        return Counter(body.decode().split()[0] for _, _, body in answers)

    def counted(self) -> dict[str, tuple[int, int]]:
        """Return requests and errors by slot, as the platform reads them."""
        text = ask(self.stats, {})[2].decode()
        found = parse(text, "proxy", TEAM, "chat")
        return {place.address: (c.requests, c.errors) for place, c in found.items()}


@pytest.fixture
def run(servers: Servers, tmp_path: Path) -> Iterator[Callable[[dict[str, float]], Running]]:
    """Return what runs a gateway with some weights."""
    with contextlib.ExitStack() as stack:

        def started(weights: dict[str, float]) -> Running:
            found = translated(objects(weights), tmp_path)
            assert refusals(found) == []
            port, admin = free_port(), free_port()
            config = configuration(found, port=port, server_port=servers.ports["a"])
            text = json.dumps(config).replace(
                f'"{ENDS["b"]}", "portValue": 8000', f'"{HERE["b"]}", "portValue": {servers.ports["b"]}'
            )
            config = json.loads(text)
            config["admin"]["address"]["socket_address"]["port_value"] = admin
            url = stack.enter_context(envoy(config, tmp_path, port))
            return Running(url, f"http://127.0.0.1:{admin}/stats/prometheus?filter=endpoint")

        yield started
        servers.bad.clear()


def test_weights_split_exactly_and_the_prefix_goes(run: Callable[[dict[str, float]], Running]) -> None:
    """One cluster a rule, and round robin in it: no dice."""
    gateway = run({"a": 90.0, "b": 10.0})
    assert gateway.slots(100) == {"a": 90, "b": 10}
    assert ask(f"{gateway.url}/chat/v1/models", {})[2].split()[1] == b"/v1/models"
    assert ask(f"{gateway.url}/code/v1/models", {})[0] == 404


def test_a_request_that_names_a_published_release_gets_it(run: Callable[[dict[str, float]], Running]) -> None:
    gateway = run({"a": 90.0, "b": 10.0})
    assert gateway.slots(10, **{RELEASE_HEADER: "chat-2"}) == {"b": 10}
    assert gateway.slots(10, **{RELEASE_HEADER: "chat-1"}) == {"a": 10}
    assert gateway.slots(20, **{RELEASE_HEADER: "chat-9"})["a"] >= 16


def test_a_slot_without_weight_gets_nothing(run: Callable[[dict[str, float]], Running]) -> None:
    gateway = run({"a": 100.0, "b": 0.0})
    assert gateway.slots(50) == {"a": 50}
    assert gateway.slots(10, **{RELEASE_HEADER: "chat-2"}) == {"a": 10}


def test_the_proxys_counts_are_read_by_slot(run: Callable[[dict[str, float]], Running], servers: Servers) -> None:
    gateway = run({"a": 50.0, "b": 50.0})
    servers.bad.add("b")
    gateway.slots(20)
    gateway.slots(5, **{RELEASE_HEADER: "chat-2"})
    deadline = time.monotonic() + 30
    while (found := gateway.counted()) != {HERE["a"]: (10, 0), HERE["b"]: (15, 15)}:
        assert time.monotonic() < deadline, found  # Envoy brings its workers' counters together now and then
