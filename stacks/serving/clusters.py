"""The serving part of one cluster, and the controllers in the home region's."""

from __future__ import annotations

import pulumi

from components.addon_objects import ISSUER
from components.chart_images import PROXY, copy_of
from components.controller import Controller, ControllerArgs
from components.controller_rights import ControllerRights, ControllerRightsArgs
from components.declared import Declared
from components.endpoint_slots import EndpointSlots, EndpointSlotsArgs
from components.gateway import Gateway, GatewayArgs
from components.namespaces import TeamNamespace
from components.network import subnets
from components.pages import PAGES, Pages, PagesArgs
from components.secret_store import Wanted, external_secret
from components.team_secrets import GATED_MODELS
from environments.names import (
    MLFLOW_NAME,
    MLFLOW_PORT,
    MONITORING_NAMESPACE,
    PROMETHEUS_NAME,
    PROMETHEUS_PORT,
    cluster_name,
    fit,
    gated_models_secret,
    gateway_name,
    namespace,
    secret_name,
)
from stacks.references import Foundation

IN_CLUSTER_PROMETHEUS = f"http://{PROMETHEUS_NAME}.{MONITORING_NAMESPACE}.svc:{PROMETHEUS_PORT}"


class ClusterRegion:
    """Namespaces of the teams, the gateway, and everything around each endpoint's slots."""

    def __init__(self, found: Declared, region: str, foundation: Foundation) -> None:
        self.found, self.region, self._foundation = found, region, foundation
        self.name = cluster_name(found.environment, region)
        self.options = foundation.options(region)
        self.gateway_name = gateway_name(found.environment)
        teams = sorted({endpoint.team for endpoint in found.endpoints(region).values()})
        self.namespaces = {team: self._namespace(team) for team in teams}
        self._gateway()
        for endpoint in found.endpoints(region):
            self._slots(endpoint)
        ControllerRights(self.name, ControllerRightsArgs(self.namespaces, found.owned), self.options)

    def _namespace(self, team: str) -> pulumi.Output[str]:
        owned, name = self.found.owned.by(team), namespace(self.found.environment, team)
        made = TeamNamespace(f"{self.name}-{team}", name, owned, self.options).name
        if self.found.infrastructure.gated_models:
            token = Wanted(gated_models_secret(), {"token": secret_name(self.found.environment, GATED_MODELS)})
            external_secret(f"{self.name}-{team}-gated", token, owned, namespace=made, opts=self.options)
        return made

    def _gateway(self) -> None:
        block, region = self.found.infrastructure, self.found.clusters[self.region]
        endpoints = self.found.endpoints(self.region)
        args = GatewayArgs(
            region=self.region,
            domain=block.domain,
            issuer=ISSUER,
            spec=block.gateway,
            teams=self.found.loaded.spec.teams,
            endpoints={team: [n for n, e in endpoints.items() if e.team == team] for team in self.namespaces},
            namespaces=self.namespaces,
            allow_slot_header=region.allow_slot_header,
            pages=PAGES if self._has_pages else (),
            owned=self.found.owned,
            proxy_image=self._proxy_image(),
        )
        Gateway(self.name, args, self.options)
        if self._has_pages and block.domain and block.single_sign_on:
            pages = PagesArgs(block.domain, block.single_sign_on, block.gateway.allowed_cidrs, self.found.owned)
            Pages(f"{self.name}-pages", pages, self.options)

    def _proxy_image(self) -> pulumi.Output[str] | None:
        """Return where Envoy's image is pulled from, None where that is its maker."""
        if copy_of(PROXY, self.found.registries(self.region, "")) is None:
            return None
        account = self._foundation.output("account")
        return account.apply(lambda number: str(copy_of(PROXY, self.found.registries(self.region, number))))

    @property
    def _has_pages(self) -> bool:
        block = self.found.infrastructure
        return self.region == self.found.home and bool(block.domain and block.single_sign_on)

    def _slots(self, endpoint: str) -> None:
        spec, zones = self.found.loaded.spec.endpoints[endpoint], self.found.zones(self.region)
        args = EndpointSlotsArgs(
            endpoint=endpoint,
            spec=spec,
            region=self.region,
            namespace=self.namespaces[spec.team],
            namespace_name=namespace(self.found.environment, spec.team),
            prometheus=IN_CLUSTER_PROMETHEUS,
            api_cidrs=[found.private for found in subnets(self.found.cidrs[self.region], zones)],
            hours=self.found.infrastructure.working_hours,
            eks_name=self._foundation.of(self.region, "eks_name"),
            bucket_arns=[self._foundation.of(region, "bucket_arn") for region in (self.region, self.found.primary)],
            key_arns=[self._foundation.of(region, "key_arn") for region in (self.region, self.found.primary)],
            owned=self.found.owned.by(spec.team),
        )
        EndpointSlots(fit(f"{self.name}-{endpoint}", 56), args, self.options)


def controllers(found: Declared, home: ClusterRegion, foundation: Foundation) -> None:
    """Run the controllers in the home region, with a context for every cluster of the environment."""
    image = found.infrastructure.images.controller
    if image is None:
        raise AssertionError("checked before: the controllers have an image")
    args = ControllerArgs(
        image=image,
        replicas=found.infrastructure.controllers,
        file=found.loaded.path.read_text(encoding="utf-8"),
        kubeconfigs={
            spec.context: foundation.of(region, "kubeconfig")
            for region, spec in found.clusters.items()
            if spec.context  # without one the controllers use their own account
        },
        store_secret=secret_name(found.environment, "sluice", "url"),
        password_version=found.infrastructure.database.password_version,
        mlflow=f"http://{MLFLOW_NAME}.{MLFLOW_NAME}.svc:{MLFLOW_PORT}",
        owned=found.owned,
    )
    Controller(f"sluice-{found.environment}-controller", args, home.options)
