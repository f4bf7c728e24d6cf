"""Which connections work: the NetworkPolicies of all stacks against the flows that must and must not get through."""

from __future__ import annotations

from typing import Any

import pytest

from components.declared import declared
from components.network import subnets
from environments.names import ENDPOINT_LABEL, namespace
from tests.components.test_everywhere import found, platform, serving
from tests.support.network_rules import Peer, lets_in

ENVOY = Peer("envoy-gateway-system", {"app.kubernetes.io/component": "proxy"})
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
CONTROLLER = Peer("sluice-system", {"app.kubernetes.io/name": "sluice-controller"})
STRANGER = Peer("somewhere", {"app": "x"})
CHAT = Peer(namespace("prod", "support"), {ENDPOINT_LABEL: "chat"})
CODE = Peer(namespace("prod", "developer-tools"), {ENDPOINT_LABEL: "code"})
EMBED = Peer(namespace("prod", "search"), {ENDPOINT_LABEL: "embed"})
MLFLOW = Peer("mlflow", {"app.kubernetes.io/name": "mlflow"})


def control_plane() -> Peer:
    """Return an address of the home region's API server, which lives in the private subnets of the cluster."""
    spec = found("prod")
    network = subnets(spec.cidrs["eu-central-1"], spec.zones("eu-central-1"))[1].private
    return Peer(address=network.split("/")[0][:-1] + "9")


def policies() -> list[Any]:
    return [m.inputs for recorded in (platform("prod"), serving("prod")) for m in recorded.of("NetworkPolicy")]


FLOWS = [
    ("the gateway sends requests to a slot", ENVOY, CHAT, 8000, True),
    ("controllers warm a slot up", CONTROLLER, CHAT, 8000, True),
    ("Prometheus scrapes vLLM", PROMETHEUS, CHAT, 8000, True),
    ("Prometheus scrapes Triton", PROMETHEUS, EMBED, 8002, True),
    ("one team's pods call another's", CODE, CHAT, 8000, False),
    ("any pod calls a slot", STRANGER, CHAT, 8000, False),
    ("the gateway scrapes Triton", ENVOY, EMBED, 8002, False),
    ("controllers ask MLflow", CONTROLLER, MLFLOW, 5000, True),
    ("the sign-on gateway shows MLflow", ENVOY, MLFLOW, 5000, True),
    ("a model's pod writes the registry", CHAT, MLFLOW, 5000, False),
    ("Prometheus scrapes controllers", PROMETHEUS, CONTROLLER, 9464, True),
    ("a model's pod calls controllers", CHAT, CONTROLLER, 9464, False),
]


@pytest.mark.parametrize(("what", "source", "target", "port", "through"), FLOWS, ids=[flow[0] for flow in FLOWS])
def test_a_flow(what: str, source: Peer, target: Peer, port: int, through: bool) -> None:
    assert lets_in(policies(), source, target, port) is through


def test_the_api_servers_proxy_reaches_slots_although_it_is_no_pod() -> None:
    assert lets_in(policies(), control_plane(), CHAT, 8000)
    assert not lets_in(policies(), Peer(address="192.0.2.7"), CHAT, 8000)


def test_nothing_keeps_a_pod_from_names_and_buckets() -> None:
    """No policy of ours is about egress: DNS, Secrets and S3 are guarded by roles and keys."""
    assert all(policy["spec"]["policyTypes"] == ["Ingress"] for policy in policies())


def test_every_namespace_with_our_pods_is_closed_until_something_opens_it() -> None:
    closed = {p["metadata"]["namespace"] for p in policies() if not p["spec"]["podSelector"]}
    assert closed >= {CHAT.namespace, CODE.namespace, EMBED.namespace, MLFLOW.namespace, CONTROLLER.namespace}
    assert declared("prod", environ={}).teams
