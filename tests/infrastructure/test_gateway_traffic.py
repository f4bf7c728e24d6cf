"""The gateway's policies under traffic: what Envoy Gateway makes of them is run by Envoy and asked by clients."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.team_limits import COUNT_TOKENS
from environments.infrastructure import GatewaySpec, TeamSpec
from environments.names import CLIENT_HEADER, SLOT_HEADER, gateway_name, namespace
from tests.components.test_gateway import gateway
from tests.support.gateway_traffic import STAND_IN, ask, configuration, envoy, free_port, managers, refusals, translated

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("gateway")]

TEAM = namespace("prod", "support")
RATE = 12
KEY = {"Authorization": "Bearer KEY-1"}
SPEC = GatewaySpec(allowed_cidrs=["127.0.0.1/32"], shared_limits=False, proxies=1, proxies_max=1)
POLICIES = {"ClientTrafficPolicy", "SecurityPolicy", "BackendTrafficPolicy"}
TRANSLATED = {"GatewayClass", "Gateway", "EnvoyProxy", "Namespace", *POLICIES}
EVENTS = [
    b'data: {"choices": []}\n\n',
    b'data: {"usage": {"prompt_tokens": 5, "total_tokens": 42}}\n\n',
    b"data: [DONE]\n\n",
]


class Server(BaseHTTPRequestHandler):
    """Answers with the headers that it got, as a whole or in events."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        pieces = EVENTS if self.path.endswith("/stream") else [json.dumps(dict(self.headers)).encode()]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (*pieces, b""):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Run a server of models; yield its port."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running.server_address[1]
    running.shutdown()


def objects() -> list[dict[str, Any]]:
    """Return what the serving stack makes of a gateway, a route as the reconciler writes it, a key and a server."""
    teams = {"support": TeamSpec(requests_per_minute=RATE)}
    made = gateway(domain=None, spec=SPEC, teams=teams, endpoints={"support": ["chat"]})
    ours = [
        {key: m.inputs[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in m.inputs}
        for m in made.objects()
    ]
    kept = [body for body in ours if body["kind"] in TRANSLATED]
    for listener in next(body for body in kept if body["kind"] == "Gateway")["spec"]["listeners"]:
        listener["allowedRoutes"]["namespaces"] = {"from": "All"}  # the translator knows no labels of namespaces
    here = {"namespace": TEAM}
    target = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": "chat-a"}
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/chat"}}],
        "filters": [rewrite],
        "backendRefs": [target],
    }
    parent = {"name": gateway_name("prod"), "namespace": "sluice-gateway"}
    end = {"ip": {"address": STAND_IN, "port": 8000}}
    return [
        *kept,
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in (TEAM, "envoy-gateway-system")
        ),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys", **here}, "data": {"web": "S0VZLTE="}},
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": "chat-a", **here},
            "spec": {"endpoints": [end]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "chat", **here},
            "spec": {"parentRefs": [parent], "rules": [rule]},
        },
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what Envoy Gateway makes of the objects."""
    return translated(objects(), tmp_path_factory.mktemp("translated"))


@pytest.fixture
def address(found: dict[str, Any], server: int, tmp_path: Path) -> Iterator[str]:
    """Run Envoy with a fresh bucket of requests; yield the gateway's address."""
    port = free_port()
    copy = json.loads(json.dumps(found))
    with envoy(configuration(copy, port=port, server_port=server), tmp_path, port) as running:
        yield running


def test_envoy_gateway_accepts_every_object(found: dict[str, Any]) -> None:
    assert refusals(found) == []


def test_a_key_of_the_team_opens_its_endpoint_and_goes_no_further(address: str) -> None:
    status, _, body = ask(f"{address}/chat/v1/models", KEY)
    assert status == 200
    seen = {name.lower(): value for name, value in json.loads(body).items()}
    assert seen[CLIENT_HEADER] == "web"
    assert "authorization" not in seen


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer WRONG"}, {"x-api-key": "KEY-2"}])
def test_nothing_else_does(address: str, headers: dict[str, str]) -> None:
    assert ask(f"{address}/chat/v1/models", headers)[0] == 401


def test_a_client_chooses_no_slot(address: str) -> None:
    _, _, body = ask(f"{address}/chat/v1/models", {**KEY, SLOT_HEADER: "b"})
    assert SLOT_HEADER not in {name.lower() for name in json.loads(body)}


def test_the_prefix_of_the_endpoint_is_rewritten_away(address: str) -> None:
    assert ask(f"{address}/chat/stream", KEY)[2] == b"".join(EVENTS)
    assert ask(f"{address}/code/v1/models", KEY)[0] == 404


def test_an_address_that_is_not_on_the_list_is_refused(address: str) -> None:
    port = int(address.rpartition(":")[2])
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=("127.0.0.2", 0))
    client.request("GET", "/chat/v1/models", headers=KEY)
    assert client.getresponse().status == 403


def test_a_teams_rate_holds_and_says_so(address: str) -> None:
    answers = [ask(f"{address}/chat/v1/models", KEY)[0] for _ in range(RATE + 5)]
    assert answers == [200] * RATE + [429] * 5


def test_tokens_of_a_stream_are_counted_while_it_passes(found: dict[str, Any], server: int, tmp_path: Path) -> None:
    log = tmp_path / "tokens.log"
    lua = {
        "name": "count",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": COUNT_TOKENS},
        },
    }
    port = free_port()
    config = configuration(json.loads(json.dumps(found)), port=port, server_port=server, filters=[lua])
    written = {
        "name": "file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(log),
            "log_format": {"text_format_source": {"inline_string": "%DYNAMIC_METADATA(sluice:total_tokens)%\n"}},
        },
    }
    for manager in managers(config["static_resources"]["listeners"][0]):
        manager["accessLog"] = [written]
    with envoy(config, tmp_path, port) as running:
        assert ask(f"{running}/chat/stream", KEY)[2] == b"".join(EVENTS)
    assert log.read_text() == "42\n"
