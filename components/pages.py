"""The pages that people open, MLflow's and Grafana's: routes of the home gateway behind single sign-on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.client_auth import allow_list
from components.objects import custom, meta
from components.secret_store import Wanted, external_secret
from components.tags import Owned
from components.team_secrets import SINGLE_SIGN_ON
from environments.infrastructure import SingleSignOnSpec
from environments.names import (
    GATEWAY_NAMESPACE,
    MLFLOW_NAME,
    MLFLOW_PORT,
    MONITORING_NAMESPACE,
    gateway_name,
    secret_name,
)

API, ENVOY = "gateway.networking.k8s.io/v1", "gateway.envoyproxy.io/v1alpha1"
SECRET = "sign-on"


@dataclass(frozen=True)
class Page:
    """A page: its name, which is its host's first label and its listener's, and the Service behind it."""

    name: str
    namespace: str
    service: str
    port: int
    signs_in_itself: bool = False

    def host(self, domain: str) -> str:
        """Return the name under which people open it."""
        return f"{self.name}.{domain}"


# Grafana knows roles and signs people in itself; MLflow knows nobody, so the gateway does it.
PAGES = (
    Page("mlflow", MLFLOW_NAME, MLFLOW_NAME, MLFLOW_PORT),
    Page("grafana", MONITORING_NAMESPACE, "monitoring-grafana", 80, signs_in_itself=True),
)


@dataclass(frozen=True)
class PagesArgs:
    """The domain whose labels the pages are, who signs people in, and from where they may come."""

    domain: str
    sign_on: SingleSignOnSpec
    allowed_cidrs: Sequence[str]
    owned: Owned


class Pages(pulumi.ComponentResource):
    """Routes to MLflow and Grafana. They stand in namespaces where the controllers write nothing.

    Costs nothing. Protects by: the gateway's allow list, and a page that opens to people of the identity provider
    alone.
    """

    def __init__(self, name: str, args: PagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:Pages", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        for page in PAGES:
            self._object(page, API, "HTTPRoute", route_spec(page, args))
            if not page.signs_in_itself:
                self._secret(page)
            self._object(page, ENVOY, "SecurityPolicy", sign_on_spec(page, args))
        self.register_outputs({"hosts": [page.host(args.domain) for page in PAGES]})

    def _object(self, page: Page, api: str, kind: str, spec: Mapping[str, Any]) -> None:
        metadata = meta(f"page-{page.name}", self._args.owned, namespace=page.namespace)
        custom(f"{self._name}-{page.name}-{kind.lower()}", api, kind, metadata=metadata, spec=spec, opts=self._own)

    def _secret(self, page: Page) -> None:
        wanted = Wanted(SECRET, {"client-secret": secret_name(self._args.owned.environment, SINGLE_SIGN_ON)})
        name = f"{self._name}-{page.name}-secret"
        external_secret(name, wanted, self._args.owned, namespace=page.namespace, opts=self._own)


def route_spec(page: Page, args: PagesArgs) -> dict[str, Any]:
    """Return a page's HTTPRoute."""
    parent = {"name": gateway_name(args.owned.environment), "namespace": GATEWAY_NAMESPACE, "sectionName": page.name}
    return {
        "parentRefs": [parent],
        "hostnames": [page.host(args.domain)],
        "rules": [{"backendRefs": [{"name": page.service, "port": page.port}]}],
    }


def sign_on_spec(page: Page, args: PagesArgs) -> dict[str, Any]:
    """Return a page's SecurityPolicy: the allow list, and sign-on where the page does not do it itself."""
    route = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": f"page-{page.name}"}
    spec: dict[str, Any] = {"targetRefs": [route], "authorization": allow_list(args.allowed_cidrs)}
    if not page.signs_in_itself:
        spec["oidc"] = {
            "provider": {"issuer": args.sign_on.issuer},
            "clientID": args.sign_on.client_id,
            "clientSecret": {"name": SECRET},
            "scopes": ["openid", "profile", "email"],
            "redirectURL": f"https://{page.host(args.domain)}/oauth2/callback",
            "logoutPath": "/logout",
        }
    return spec
