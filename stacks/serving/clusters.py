"""The serving part of one cluster, and the controllers in the home region's.

Imports `components`. Called by this stack's program.
"""

from __future__ import annotations

import pulumi

from components.addons import ISSUER
from components.controller import Controller, ControllerArgs
from components.controller_rights import ControllerRights, ControllerRightsArgs
from components.declared import Declared
from components.endpoint_slots import EndpointSlots, EndpointSlotsArgs
from components.gateway import Gateway, GatewayArgs
from components.namespaces import TeamNamespace
from environments.names import (
    MONITORING_NAMESPACE,
    PROMETHEUS_NAME,
    PROMETHEUS_PORT,
    cluster_name,
    fit,
    gateway_name,
    namespace,
)
from stacks.serving.outputs import Platform

IN_CLUSTER_PROMETHEUS = f"http://{PROMETHEUS_NAME}.{MONITORING_NAMESPACE}.svc:{PROMETHEUS_PORT}"


class ClusterRegion:
    """Namespaces of the teams, the gateway, and everything around each endpoint's slots."""

    def __init__(self, found: Declared, region: str, platform: Platform) -> None:
        self.found, self.region, self._platform = found, region, platform
        self.name = cluster_name(found.environment, region)
        self.options = platform.options(region)
        self.gateway_name = gateway_name(found.environment)
        teams = sorted({endpoint.team for endpoint in found.endpoints(region).values()})
        self.namespaces = {team: self._namespace(team) for team in teams}
        self._gateway()
        for endpoint in found.endpoints(region):
            self._slots(endpoint)
        ControllerRights(self.name, ControllerRightsArgs(self.namespaces, found.owned), self.options)

    def _namespace(self, team: str) -> pulumi.Output[str]:
        owned, name = self.found.owned.by(team), namespace(self.found.environment, team)
        return TeamNamespace(f"{self.name}-{team}", name, owned, self.options).name

    def _gateway(self) -> None:
        block, region = self.found.infrastructure, self.found.clusters[self.region]
        endpoints = self.found.endpoints(self.region)
        args = GatewayArgs(
            domain=block.domain,
            issuer=ISSUER,
            spec=block.gateway,
            teams=self.found.loaded.spec.teams,
            endpoints={team: [n for n, e in endpoints.items() if e.team == team] for team in self.namespaces},
            namespaces=self.namespaces,
            allow_slot_header=region.allow_slot_header,
            owned=self.found.owned,
        )
        Gateway(self.name, args, self.options)

    def _slots(self, endpoint: str) -> None:
        spec = self.found.loaded.spec.endpoints[endpoint]
        args = EndpointSlotsArgs(
            endpoint=endpoint,
            spec=spec,
            region=self.region,
            namespace=self.namespaces[spec.team],
            namespace_name=namespace(self.found.environment, spec.team),
            prometheus=IN_CLUSTER_PROMETHEUS,
            hours=self.found.infrastructure.working_hours,
            eks_name=self._platform.of(self.region, "eks_name"),
            bucket_arn=self._platform.of(self.region, "bucket_arn"),
            key_arn=self._platform.of(self.region, "key_arn"),
            owned=self.found.owned.by(spec.team),
        )
        EndpointSlots(fit(f"{self.name}-{endpoint}", 56), args, self.options)


def controllers(found: Declared, home: ClusterRegion, platform: Platform) -> None:
    """Run the controllers in the home region, with a context for every cluster of the environment."""
    image = found.infrastructure.images.controller
    if image is None:
        raise AssertionError("checked before: the controllers have an image")
    args = ControllerArgs(
        image=image,
        replicas=found.infrastructure.controllers,
        file=found.loaded.path.read_text(encoding="utf-8"),
        kubeconfigs={spec.context: platform.of(region, "kubeconfig") for region, spec in found.clusters.items()},
        store_url=platform.output("store_url"),
        mlflow=platform.output("mlflow"),
        eks_name=platform.of(home.region, "eks_name"),
        role_arn=platform.output("controller_role_arn"),
        owned=found.owned,
    )
    Controller(f"sluice-{found.environment}-controller", args, home.options)
