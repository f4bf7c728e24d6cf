"""Gateways: TLS, an allow list, a rate for each team, and no limit that cuts a stream while it flows."""

from __future__ import annotations

from typing import Any

import pytest

from components.client_auth import KEYS_SECRET
from components.gateway import Gateway, GatewayArgs, client_settings, listeners, proxy_spec, records
from components.pages import PAGES
from components.team_limits import backend_settings
from environments.infrastructure import GatewaySpec, JwtSpec, TeamSpec
from environments.names import SLOT_HEADER, gateway_name, route_name
from tests.components.mocked import OWNED, Made, Recorded, make

SPEC = GatewaySpec()


def gateway(**fields: Any) -> Recorded:
    given: dict[str, Any] = {
        "region": "eu-central-1",
        "domain": "models.example.com",
        "issuer": "letsencrypt",
        "spec": SPEC,
        "teams": {"support": TeamSpec(requests_per_minute=600)},
        "endpoints": {"support": ["chat", "code"]},
        "namespaces": {"support": "support-prod"},
        "allow_slot_header": False,
        "pages": (),
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


@pytest.mark.parametrize(("rate", "proxies", "most", "share"), [(600, 3, 3, 200), (1200, 3, 12, 100), (1, 3, 12, 1)])
def test_without_a_shared_count_a_teams_rate_is_never_exceeded(rate: int, proxies: int, most: int, share: int) -> None:
    spec = GatewaySpec(proxies=proxies, proxies_max=most, shared_limits=False)
    settings = backend_settings(["chat"], spec, TeamSpec(requests_per_minute=rate))
    assert settings["rateLimit"]["local"]["rules"] == [{"limit": {"requests": share, "unit": "Minute"}}]


def test_with_a_shared_count_the_whole_rate_holds_over_all_proxies() -> None:
    limits = TeamSpec(requests_per_minute=600, tokens_per_minute=90000)
    rate = backend_settings(["chat"], SPEC, limits)["rateLimit"]
    assert rate["type"] == "Global"
    requests, tokens = rate["global"]["rules"]
    assert requests["limit"] == {"requests": 600, "unit": "Minute"}
    assert tokens["limit"] == {"requests": 90000, "unit": "Minute"}
    assert tokens["cost"]["request"] == {"from": "Number", "number": 0}
    assert tokens["cost"]["response"]["metadata"] == {"namespace": "sluice", "key": "total_tokens"}


def test_tokens_are_counted_where_a_team_has_a_quota_and_nowhere_else() -> None:
    assert not gateway().of("EnvoyExtensionPolicy")
    made = gateway(teams={"support": TeamSpec(tokens_per_minute=1000)})
    assert "total_tokens" in made.one("EnvoyExtensionPolicy").at("spec.lua.0.inline")


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
    policies = gateway().of("SecurityPolicy")
    assert len(policies) == 2
    for policy in policies:
        assert policy.at("spec.authorization.defaultAction") == "Deny"
        assert policy.at("spec.authorization.rules.0.principal.clientCIDRs") == SPEC.allowed_cidrs


def on_routes(**fields: Any) -> Made:
    return next(p for p in gateway(**fields).of("SecurityPolicy") if p.at("spec.targetRefs.0.kind") == "HTTPRoute")


def test_a_client_shows_a_key_of_the_endpoints_team() -> None:
    policy = on_routes()
    assert policy.at("metadata.namespace") == "support-prod"
    assert policy.at("spec.apiKeyAuth.credentialRefs") == [{"name": KEYS_SECRET}]
    assert policy.at("spec.apiKeyAuth.sanitize") is True
    fetched = gateway().one("ExternalSecret")
    assert fetched.at("metadata.namespace") == "support-prod"
    assert fetched.at("spec.dataFrom.0.extract.key") == "sluice/prod/api-keys/support"


def test_or_a_token_that_names_the_team() -> None:
    spec = JwtSpec(issuer="https://id.example", jwks_url="https://id.example/keys", audience="models")
    policy = on_routes(spec=GatewaySpec(jwt=spec))
    assert "apiKeyAuth" not in policy.at("spec")
    claims = policy.at("spec.authorization.rules.0.principal.jwt.claims")
    assert claims == [{"name": "team", "values": ["support"]}]


def test_a_silent_stream_outlives_the_load_balancers_patience() -> None:
    keepalive = client_settings(SPEC, strips_slot=True)["tcpKeepalive"]
    assert int(keepalive["idleTime"].removesuffix("s")) < 350


def test_the_load_balancer_is_on_somebodys_bill_and_in_every_clients_reach() -> None:
    service = proxy_spec(SPEC, OWNED, records("models.example.com", "us-east-1"))["provider"]["kubernetes"][
        "envoyService"
    ]
    tags = service["annotations"]["service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags"]
    assert "team=platform" in tags.split(",")
    dns = {key.partition("/")[2]: value for key, value in service["annotations"].items() if "external-dns" in key}
    assert dns == {
        "hostname": "models.example.com",
        "set-identifier": "us-east-1",
        "aws-region": "us-east-1",
        "aws-evaluate-target-health": "true",
    }


def test_pages_have_listeners_of_their_own_that_their_namespaces_alone_use() -> None:
    found = {p["name"]: p for p in listeners("models.example.com", "prod", PAGES)}
    assert found["mlflow"]["hostname"] == "mlflow.models.example.com"
    labels = found["mlflow"]["allowedRoutes"]["namespaces"]["selector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "mlflow"}


def test_the_load_balancer_is_private_unless_the_environment_says_public() -> None:
    for public, scheme in ((False, "internal"), (True, "internet-facing")):
        service = proxy_spec(GatewaySpec(public=public), OWNED, {})["provider"]["kubernetes"]["envoyService"]
        assert service["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == scheme
        assert service["loadBalancerSourceRanges"] == SPEC.allowed_cidrs


def test_arms_are_told_apart_without_a_cluster_for_each() -> None:
    spec = proxy_spec(SPEC, OWNED, {})
    assert "mergeBackends" not in spec
    assert spec["telemetry"]["metrics"]["enablePerEndpointStats"] is True


def test_a_single_proxy_has_no_budget_that_would_block_a_drain() -> None:
    assert "envoyPDB" not in proxy_spec(GatewaySpec(proxies=1), OWNED, {})["provider"]["kubernetes"]
    assert proxy_spec(GatewaySpec(proxies=3), OWNED, {})["provider"]["kubernetes"]["envoyPDB"] == {"minAvailable": 2}


def test_idle_streams_end() -> None:
    assert (
        client_settings(GatewaySpec(idle_stream_s=120), strips_slot=True)["timeout"]["http"]["streamIdleTimeout"]
        == "120s"
    )
