"""What must be there before something else: dependencies as the engine gets them, not as a program is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pulumi.runtime import set_mocks, settings
from pulumi.runtime import test as pulumi_test

from components.network import Network, NetworkArgs
from stacks.foundation.base import Base
from stacks.foundation.home import home_in
from stacks.foundation.joined import joined
from stacks.foundation.region import Region
from stacks.platform.cluster import PlatformCluster
from stacks.references import Foundation
from tests.components.mocked import ACCOUNT, OWNED, Recorded
from tests.components.test_everywhere import found
from tests.components.test_network import ZONES


def dependencies(program: Callable[[], object]) -> dict[str, set[str]]:
    """Return what each resource waits for, by name: `TYPE NAME` to the URNs that the engine is told."""
    told: dict[str, set[str]] = {}
    set_mocks(Recorded(), project="sluice", stack="prod", preview=False)
    monitor: Any = settings.get_monitor()
    register = monitor.RegisterResource

    def listening(request: Any, *more: Any) -> Any:
        told[f"{request.type} {request.name}"] = set(request.dependencies)
        return register(request, *more)

    monitor.RegisterResource = listening
    settled: Callable[[Callable[[], None]], Callable[[], None]] = pulumi_test
    settled(lambda: (program(), None)[1])()
    return told


def foundation() -> dict[str, set[str]]:
    """Return what the resources of prod's foundation wait for."""

    def program() -> None:
        base = Base(found("prod"))
        regions = {name: Region(base, name) for name in base.found.regions}
        home_in(base, regions, joined(base, regions))

    return dependencies(program)


def test_nodes_wait_for_the_network_add_on_and_for_their_rights() -> None:
    told = foundation()
    groups = [urns for name, urns in told.items() if "NodeGroup" in name]
    assert groups
    for urns in groups:
        assert any("vpc-cni" in urn for urn in urns)
        assert any("AmazonEKS_CNI_Policy" in urn for urn in urns)


def test_add_ons_with_pods_wait_for_nodes() -> None:
    told = foundation()
    for addon in ("coredns", "aws-ebs-csi-driver"):
        waits = [urns for name, urns in told.items() if "addon:Addon" in name and name.endswith(addon)]
        assert waits
        assert all(any("NodeGroup" in urn for urn in urns) for urns in waits)


def test_alerts_wait_for_the_kinds_that_charts_bring() -> None:
    def program() -> None:
        spec = found("prod")
        there = Foundation(spec)
        for region in spec.clusters:
            PlatformCluster(spec, region, there)

    told = dependencies(program)
    rules = [urns for name, urns in told.items() if "PrometheusRule" in name or "AlertmanagerConfig" in name]
    assert rules
    assert all(any(urn.endswith("-monitoring") for urn in urns) for urns in rules)
    stores = [urns for name, urns in told.items() if "ClusterSecretStore" in name]
    assert all(any(urn.endswith("-external-secrets") for urn in urns) for urns in stores)


def test_nat_gateways_wait_for_their_networks_way_out() -> None:
    args = NetworkArgs("eu-central-1", "10.0.0.0/16", ZONES, True, False, ACCOUNT, 90, True, OWNED)
    told = dependencies(lambda: Network("net", args))
    gateways = {name: urns for name, urns in told.items() if "NatGateway" in name}
    assert len(gateways) == len(ZONES)
    assert all(any("InternetGateway" in urn for urn in urns) for urns in gateways.values())
