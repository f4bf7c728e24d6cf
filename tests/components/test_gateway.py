"""Gateways: TLS, an allow list, a rate for each team, and no limit that cuts a stream while it flows."""

from __future__ import annotations

from typing import Any

import pytest

from components.gateway import Gateway, GatewayArgs, backend_settings, client_settings, listeners, proxy_spec
from environments.infrastructure import GatewaySpec, TeamSpec
from environments.names import SLOT_HEADER, gateway_name, route_name
from tests.components.mocked import OWNED, Recorded, make

SPEC = GatewaySpec()


def gateway(**fields: Any) -> Recorded:
    given: dict[str, Any] = {
        "domain": "models.example.com",
        "issuer": "letsencrypt",
        "spec": SPEC,
        "teams": {"support": TeamSpec(requests_per_minute=600)},
        "endpoints": {"support": ["chat", "code"]},
        "namespaces": {"support": "support-prod"},
        "allow_slot_header": False,
        "owned": OWNED,
    } | fields
    return make(lambda: Gateway("gateway", GatewayArgs(**given)))


def test_pulumi_declares_no_route() -> None:
    assert not gateway().of("HTTPRoute")


def test_clients_speak_tls_of_a_named_domain() -> None:
    made = gateway().one("kubernetes:gateway.networking.k8s.io/v1:Gateway")
    assert made.at("metadata.name") == gateway_name("prod")
    (listener,) = made.at("spec.listeners")
    assert (listener["protocol"], listener["hostname"]) == ("HTTPS", "models.example.com")
    assert made.at("metadata.annotations")["cert-manager.io/cluster-issuer"] == "letsencrypt"


def test_without_a_domain_there_is_one_plain_listener() -> None:
    assert [(found["protocol"], found["port"]) for found in listeners(None, "dev")] == [("HTTP", 80)]


def test_only_namespaces_of_the_environment_may_attach_routes() -> None:
    (listener,) = listeners("models.example.com", "prod")
    assert listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"] == {"sluice.dev/environment": "prod"}


def test_streams_are_not_cut_by_envoys_own_limit() -> None:
    http = backend_settings(["chat"], SPEC, TeamSpec())["timeout"]["http"]
    assert http["requestTimeout"] == "0s"
    assert int(http["streamIdleTimeout"].removesuffix("s")) >= 60
    assert "maxStreamDuration" not in http


def test_a_failing_challenger_is_not_hidden_by_retries() -> None:
    assert "retry" not in backend_settings(["chat"], SPEC, TeamSpec())


@pytest.mark.parametrize(("rate", "proxies", "share"), [(600, 3, 200), (100, 3, 34), (1, 3, 1)])
def test_a_teams_rate_is_divided_by_the_proxies(rate: int, proxies: int, share: int) -> None:
    settings = backend_settings(["chat"], GatewaySpec(proxies=proxies), TeamSpec(requests_per_minute=rate))
    assert settings["rateLimit"]["local"]["rules"] == [{"limit": {"requests": share, "unit": "Minute"}}]


def test_limits_hang_on_the_routes_that_the_reconciler_writes() -> None:
    policy = gateway().one("BackendTrafficPolicy")
    assert [t["name"] for t in policy.at("spec.targetRefs")] == [route_name("chat"), route_name("code")]
    assert policy.at("metadata.namespace") == "support-prod"


@pytest.mark.parametrize("allowed", [True, False])
def test_clients_choose_a_slot_only_where_the_environment_lets_them(allowed: bool) -> None:
    policy = gateway(allow_slot_header=allowed).one("ClientTrafficPolicy")
    removed = (policy.at("spec.headers.earlyRequestHeaders.remove")) or []
    assert (SLOT_HEADER in removed) is not allowed


def test_unknown_clients_are_refused() -> None:
    policy = gateway().one("SecurityPolicy")
    assert policy.at("spec.authorization.defaultAction") == "Deny"
    assert policy.at("spec.authorization.rules.0.principal.clientCIDRs") == SPEC.allowed_cidrs


def test_the_load_balancer_is_private_unless_the_environment_says_public() -> None:
    for public, scheme in ((False, "internal"), (True, "internet-facing")):
        service = proxy_spec(GatewaySpec(public=public))["provider"]["kubernetes"]["envoyService"]
        assert service["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == scheme
        assert service["loadBalancerSourceRanges"] == SPEC.allowed_cidrs


def test_arms_are_told_apart_without_a_cluster_for_each() -> None:
    spec = proxy_spec(SPEC)
    assert "mergeBackends" not in spec
    assert spec["telemetry"]["metrics"]["enablePerEndpointStats"] is True


def test_a_single_proxy_has_no_budget_that_would_block_a_drain() -> None:
    assert "envoyPDB" not in proxy_spec(GatewaySpec(proxies=1))["provider"]["kubernetes"]
    assert proxy_spec(GatewaySpec(proxies=3))["provider"]["kubernetes"]["envoyPDB"] == {"minAvailable": 2}


def test_idle_streams_end() -> None:
    assert (
        client_settings(GatewaySpec(idle_stream_s=120), strips_slot=True)["timeout"]["http"]["streamIdleTimeout"]
        == "120s"
    )
