"""What an endpoint's servers need in one cluster, as the environment file says it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from environments.errors import SluiceError
from environments.infrastructure import InfrastructureSpec
from environments.names import GATEWAY_NAMESPACE, gateway_name, listener_name, namespace, regional_image
from environments.spec import EnvironmentSpec, GpuPool, KubernetesRegion


@dataclass(frozen=True)
class GatewayRef:
    """The Gateway that routes hang on. `listener` is None where people brought a Gateway of their own."""

    name: str
    namespace: str
    listener: str | None = None


@dataclass(frozen=True)
class Placement:
    """An endpoint in a cluster.

    `image` is None where the environment names none for the runtime. `drain_s` is how long a server may finish what is
    in flight, `start_timeout_s` how long a rollout waits for one. `workers` is how many machines a replica spans.
    """

    namespace: str
    region: str
    runtime: str
    image: str | None = None
    pool_name: str | None = None
    pool: GpuPool | None = None
    gpus: int = 1
    workers: int = 1
    backend: str = "service"
    weights_from: str | None = None
    model_bucket: str | None = None
    model_images: Mapping[str, str] = field(default_factory=dict)
    drain_s: int = 600
    start_timeout_s: float = 900.0


def placement(spec: EnvironmentSpec, region: str, endpoint: str) -> Placement:
    """Return how an endpoint stands in a region.

    Raises:
        SluiceError: `PLAT-020` the environment file does not declare it, so nobody knows its namespace.
    """
    declared, place = spec.endpoints.get(endpoint), spec.regions[region]
    if declared is None or not isinstance(place, KubernetesRegion):
        raise SluiceError(
            "PLAT-020",
            where=f"{spec.environment}/{region}/{endpoint}",
            what="the endpoint has no place in this cluster",
            why="the environment file does not declare it, and its team's namespace is not known without that",
            do=f"declare it in environments/{spec.environment}.yaml, or remove it with the file that declared it",
        )
    infrastructure = spec.infrastructure or InfrastructureSpec()
    image = getattr(infrastructure.images, declared.runtime, None)
    return Placement(
        namespace=namespace(spec.environment, declared.team),
        region=region,
        runtime=declared.runtime,
        image=regional_image(image, region) if image else None,
        pool_name=declared.pool,
        pool=place.gpu_pools.get(declared.pool or ""),
        gpus=declared.gpus_per_replica,
        workers=declared.workers,
        backend=declared.backend,
        weights_from=declared.weights_from,
        model_bucket=place.model_bucket,
        model_images=place.model_images,
        drain_s=infrastructure.gateway.drain_s,
        start_timeout_s=declared.rollout.start_timeout_s,
    )


def gateway_of(spec: EnvironmentSpec, region: str) -> GatewayRef:
    """Return the Gateway of a region: the one that it names, else the one that the stacks make."""
    place = spec.regions[region]
    named = place.gateway if isinstance(place, KubernetesRegion) else None
    if named:
        return GatewayRef(named.name, named.namespace)
    domain = spec.infrastructure.domain if spec.infrastructure else None
    return GatewayRef(gateway_name(spec.environment), GATEWAY_NAMESPACE, listener_name(domain))


def team_namespaces(spec: EnvironmentSpec) -> tuple[str, ...]:
    """Return the namespaces in which endpoints of this environment can be, also of teams that have none any more."""
    teams = {*spec.teams, *(declared.team for declared in spec.endpoints.values())}
    return tuple(sorted(namespace(spec.environment, team) for team in teams))
