"""What the stacks make in a cluster for an environment, as objects: the gateway, and what stands around slots."""

from __future__ import annotations

from collections.abc import Iterator

from components.endpoint_slots import EndpointSlots, EndpointSlotsArgs
from components.gateway import Gateway, GatewayArgs
from components.tags import Owned
from environments.infrastructure import GatewaySpec, WorkingHoursSpec
from environments.names import ENVIRONMENT_LABEL, namespace
from environments.spec import EndpointSpec, EnvironmentSpec
from tests.components.mocked import Recorded, make
from tests.support.kubernetes.api import Body

_OF_GATEWAY = {"EnvoyProxy", "GatewayClass", "Gateway", "ClientTrafficPolicy", "SecurityPolicy", "BackendTrafficPolicy"}
_OF_SLOTS = {"Service", "PodDisruptionBudget", "ServiceAccount", "NetworkPolicy"}
_GATEWAY = GatewaySpec(allowed_cidrs=["127.0.0.1/32"], shared_limits=False, proxies=1, proxies_max=1, api_keys=False)
"""As production has it, but for one proxy, which nobody may call but this machine, and no keys."""


def stack_objects(spec: EnvironmentSpec, region: str) -> list[Body]:
    """Return the objects in the order in which they can be applied.

    Left out: what needs AWS, Prometheus, KEDA or cert-manager. Nothing enforces the network policies here.
    """
    owned = Owned(spec.environment, spec.owner, "tests")
    teams = sorted({endpoint.team for endpoint in spec.endpoints.values()})
    found = [_namespace(spec.environment, team) for team in teams]
    found += _kept(_gateway(spec, region, owned), _OF_GATEWAY)
    for name, endpoint in spec.endpoints.items():
        found += _kept(_slots(spec, region, name, endpoint, owned), _OF_SLOTS)
    return found


def _gateway(spec: EnvironmentSpec, region: str, owned: Owned) -> Recorded:
    endpoints: dict[str, list[str]] = {}
    for name, endpoint in spec.endpoints.items():
        endpoints.setdefault(endpoint.team, []).append(name)
    arguments = GatewayArgs(
        region=region,
        domain=None,
        issuer="none",
        spec=_GATEWAY,
        teams={},
        endpoints=endpoints,
        namespaces={team: namespace(spec.environment, team) for team in endpoints},
        allow_slot_header=False,
        pages=(),
        owned=owned,
    )
    return make(lambda: Gateway("gateway", arguments))


def _slots(spec: EnvironmentSpec, region: str, name: str, endpoint: EndpointSpec, owned: Owned) -> Recorded:
    there = namespace(spec.environment, endpoint.team)
    arguments = EndpointSlotsArgs(
        endpoint=name,
        spec=endpoint,
        region=region,
        namespace=there,
        namespace_name=there,
        prometheus="http://prometheus:9090",
        api_cidrs=["127.0.0.1/32"],
        hours=WorkingHoursSpec(timezone="Europe/Berlin", start=8, end=18),
        eks_name="cluster",
        bucket_arns=["arn:bucket"],
        key_arns=["arn:key"],
        owned=owned.by(endpoint.team),
    )
    return make(lambda: EndpointSlots(name, arguments))


def _namespace(environment: str, team: str) -> Body:
    labels = {ENVIRONMENT_LABEL: environment, "pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": namespace(environment, team), "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _kept(made: Recorded, kinds: set[str]) -> Iterator[Body]:
    for found in made.objects():
        if found.inputs.get("kind") in kinds:
            yield {k: found.inputs[k] for k in ("apiVersion", "kind", "metadata", "spec") if k in found.inputs}
