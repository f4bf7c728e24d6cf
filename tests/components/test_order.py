"""What must be there before something else: dependencies as the engine gets them, not as a program is written."""

from __future__ import annotations

from pulumi.runtime import set_mocks
from pulumi.runtime import test as settled
from pulumi.runtime.proto import resource_pb2

from components.network import Network, NetworkArgs
from tests.components.mocked import ACCOUNT, OWNED, Recorded
from tests.components.test_network import ZONES


def dependencies(program: object) -> dict[str, set[str]]:
    """Return what each resource waits for, by name: `TYPE NAME` to the URNs that the engine is told."""
    told: dict[str, set[str]] = {}
    set_mocks(Recorded(), project="sluice", stack="prod", preview=False)
    from pulumi.runtime import settings

    monitor = settings.get_monitor()
    register = monitor.RegisterResource

    def listening(request: resource_pb2.RegisterResourceRequest, *more: object) -> object:
        told[f"{request.type} {request.name}"] = set(request.dependencies)
        return register(request, *more)

    monitor.RegisterResource = listening
    settled(lambda: (program(), None)[1])()  # type: ignore[operator]
    return told


def test_nat_gateways_wait_for_their_networks_way_out() -> None:
    args = NetworkArgs("eu-central-1", "10.0.0.0/16", ZONES, True, False, ACCOUNT, 90, True, OWNED)
    told = dependencies(lambda: Network("net", args))
    gateways = {name: urns for name, urns in told.items() if "NatGateway" in name}
    assert len(gateways) == len(ZONES)
    assert all(any("InternetGateway" in urn for urn in urns) for urns in gateways.values())
