"""Who may call a team's endpoints: an allow list of addresses, and a key or a token of the team."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from environments.infrastructure import GatewaySpec, JwtSpec
from environments.names import CLIENT_HEADER, route_name

KEYS_SECRET = "api-keys"
KEY_HEADERS = ["authorization", "x-api-key"]


def allow_list(cidrs: Sequence[str]) -> dict[str, Any]:
    """Return an authorization that lets in some address ranges and nobody else."""
    rule = {"name": "known-clients", "action": "Allow", "principal": {"clientCIDRs": list(cidrs)}}
    return {"defaultAction": "Deny", "rules": [rule]}


def team_policy(team: str, endpoints: Sequence[str], spec: GatewaySpec) -> dict[str, Any] | None:
    """Return the SecurityPolicy over a team's routes; None where the gateway's allow list is all.

    A policy on a route takes the place of the gateway's, so the allow list stands in both. A client shows a key of the
    team as `Authorization: Bearer KEY`, as OpenAI's clients do, or as `x-api-key`; its name goes on to the server and
    the key does not. With `jwt` it shows a token whose claim names the team.
    """
    if not spec.api_keys and spec.jwt is None:
        return None
    found: dict[str, Any] = {"targetRefs": routes(endpoints), "authorization": allow_list(spec.allowed_cidrs)}
    if spec.jwt is not None:
        found["jwt"] = {"providers": [_provider(spec.jwt)]}
        principal = found["authorization"]["rules"][0]["principal"]
        principal["jwt"] = {"provider": "clients", "claims": [{"name": spec.jwt.team_claim, "values": [team]}]}
        return found
    found["apiKeyAuth"] = {
        "credentialRefs": [{"name": KEYS_SECRET}],
        "extractFrom": [{"headers": KEY_HEADERS}],
        "forwardClientIDHeader": CLIENT_HEADER,
        "sanitize": True,
    }
    return found


def _provider(spec: JwtSpec) -> Mapping[str, Any]:
    return {
        "name": "clients",
        "issuer": spec.issuer,
        "audiences": [spec.audience],
        "remoteJWKS": {"uri": spec.jwks_url},
        "claimToHeaders": [{"claim": "sub", "header": CLIENT_HEADER}],
    }


def routes(endpoints: Sequence[str]) -> list[dict[str, str]]:
    """Return references to the routes of some endpoints, which the reconciler writes."""
    kind = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}
    return [{**kind, "name": route_name(endpoint)} for endpoint in endpoints]
