"""What a stack program needs before it creates anything: its environment, checked for what infrastructure needs.

Every stack program calls `declared`; it reads the environment file of the stack's name.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.tags import Owned, owned_by
from environments.aws_facts import READ_ON, ZONES, offered_zones, regions_with
from environments.errors import Problem, SpecError
from environments.find import find
from environments.infrastructure import InfrastructureSpec
from environments.load import Loaded, load
from environments.names import (
    MONITORING_NAMESPACE,
    PROMETHEUS_NAME,
    PROMETHEUS_PORT,
    cache_prefix,
    cache_registry,
    prometheus_host,
)
from environments.spec import EndpointSpec, GpuPool, KubernetesRegion, SageMakerRegion
from environments.upstreams import Upstream, cached

AwsRegion = KubernetesRegion | SageMakerRegion
Image = Literal["mlflow", "controller", "runtimes"]
IN_CLUSTER_PROMETHEUS = f"http://{PROMETHEUS_NAME}.{MONITORING_NAMESPACE}:{PROMETHEUS_PORT}"


@dataclass(frozen=True)
class Declared:
    """An environment as the stacks see it: `regions` are those in AWS, local ones are left out."""

    loaded: Loaded
    infrastructure: InfrastructureSpec
    owned: Owned
    regions: Mapping[str, AwsRegion]
    cidrs: Mapping[str, str]

    @property
    def environment(self) -> str:
        """Return the environment's name, which is the stack's too."""
        return self.loaded.spec.environment

    @property
    def clusters(self) -> Mapping[str, KubernetesRegion]:
        """Return the regions with a cluster, in the order of the file."""
        return {name: r for name, r in self.regions.items() if isinstance(r, KubernetesRegion)}

    @property
    def home(self) -> str | None:
        """Return the region of MLflow and the controllers: the first with a cluster, None without any."""
        return next(iter(self.clusters), None)

    @property
    def primary(self) -> str:
        """Return the region of what is made once: home, or the first region without one."""
        return self.home or next(iter(self.regions))

    @property
    def teams(self) -> tuple[str, ...]:
        """Return the teams with an endpoint, sorted."""
        return tuple(sorted({endpoint.team for endpoint in self.loaded.spec.endpoints.values()}))

    @property
    def upstreams(self) -> Mapping[Upstream, str | None]:
        """Return the registries that ECR copies images from, each with the secret that signs in there."""
        block = self.infrastructure.image_cache
        return {} if block is None else cached(block.model_dump())

    @property
    def cache_prefixes(self) -> tuple[str, ...]:
        """Return what the names of all copies begin with."""
        return tuple(cache_prefix(self.environment, upstream.name) for upstream in self.upstreams)

    def registries(self, region: str, account: str) -> Mapping[str, str]:
        """Return where a region's copies of each registry's images are, by the registry's host."""
        names = {upstream.host: upstream.name for upstream in self.upstreams}
        return {host: cache_registry(self.environment, region, account, name) for host, name in names.items()}

    def endpoints(self, region: str) -> Mapping[str, EndpointSpec]:
        """Return the endpoints that run in a region, in the order of the file."""
        spec = self.loaded.spec
        return {name: e for name, e in spec.endpoints.items() if region in spec.regions_of(name)}

    def zones(self, region: str) -> tuple[str, ...]:
        """Return the zone ids of a region's network: three at most."""
        return tuple(self.infrastructure.zones.get(region) or ZONES.get(region, ())[:3])

    def pool_zones(self, region: str, pool: GpuPool) -> tuple[str, ...]:
        """Return the zones of the network in which a pool's first type is offered, or those that the pool names."""
        if pool.zones:
            return tuple(pool.zones)
        offered = offered_zones(pool.instance, region)
        return tuple(zone for zone in self.zones(region) if offered is None or zone in offered)

    def pool_owner(self, region: str, pool: str) -> Owned:
        """Return who pays for a pool: the one team that uses it, or the platform team where several do."""
        teams = {endpoint.team for endpoint in self.endpoints(region).values() if endpoint.pool == pool}
        return self.owned.by(teams.pop()) if len(teams) == 1 else self.owned


def declared(
    stack: str,
    *,
    images: Sequence[Image] = (),
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
) -> Declared:
    """Return the environment that is called like the stack; `images` are those that the stack cannot do without.

    Raises:
        SluiceError: `SPEC-001` there is none; any `SPEC-…` when the file is wrong; `INFRA-001` to `INFRA-009`
            when it cannot be built.
    """
    environ = os.environ if environ is None else environ
    loaded = load(find(stack, environ=environ, start=start), environ=environ)
    infrastructure = loaded.spec.infrastructure or InfrastructureSpec()
    regions = {name: r for name, r in loaded.spec.regions.items() if isinstance(r, KubernetesRegion | SageMakerRegion)}
    cidrs, problems = _cidrs(infrastructure, tuple(regions), loaded)
    found = Declared(loaded, infrastructure, owned_by(loaded.spec), regions, cidrs)
    problems += [*_missing_images(found, images), *_unbuildable(found)]
    if not regions:
        what = f"environment {stack} has no region in AWS"
        problems.append(_problem(loaded, "regions", "INFRA-001", what, "local regions need no stack: `sluice apply`"))
    if problems:
        raise SpecError(problems)
    return found


def _cidrs(block: InfrastructureSpec, regions: tuple[str, ...], loaded: Loaded) -> tuple[dict[str, str], list[Problem]]:
    """Return a range for each region, and what is wrong with them: peered networks may not overlap."""
    path, cidrs, problems = "infrastructure.vpc_cidr", {}, []
    try:
        following = ipaddress.IPv4Network(block.vpc_cidr)
        for region in regions:
            cidrs[region] = block.vpc_cidrs.get(region) or str(following)
            if region not in block.vpc_cidrs:
                following = ipaddress.IPv4Network((following.broadcast_address + 1, following.prefixlen))
        networks = {region: ipaddress.IPv4Network(cidr) for region, cidr in cidrs.items()}
    except ValueError as error:
        return {}, [_problem(loaded, path, "INFRA-002", f"a network's range is wrong: {error}", "correct it")]
    for region, network in networks.items():
        if not 16 <= network.prefixlen <= 20:
            what = f"{network} of {region} does not fit: AWS and six subnets need a prefix of 16 to 20"
            problems.append(_problem(loaded, path, "INFRA-002", what, "choose a range such as 10.0.0.0/16"))
        for other in (name for name in networks if name < region and networks[name].overlaps(network)):
            what = f"the ranges of {other} ({networks[other]}) and {region} ({network}) overlap"
            problems.append(_problem(loaded, path, "INFRA-002", what, "name others in infrastructure.vpc_cidrs"))
    return cidrs, problems


def _missing_images(found: Declared, wanted: Sequence[Image]) -> Iterator[Problem]:
    runtimes = {e.runtime for region in found.clusters for e in found.endpoints(region).values()}
    named = {name for name in wanted if name != "runtimes"} | (runtimes if "runtimes" in wanted else set())
    for name in sorted(named if found.home else ()):
        if getattr(found.infrastructure.images, name) is None:
            what = f"no image is named for {name}"
            do = f"add `images: {{{name}: HOST/NAME@sha256:DIGEST}}` to infrastructure; docs/adopt.md says how"
            yield _problem(found.loaded, "infrastructure.images", "INFRA-003", what, do)


def _unbuildable(found: Declared) -> Iterator[Problem]:
    """Yield what AWS would refuse after minutes, or what would never serve."""
    block = found.infrastructure
    if block.domain and not block.hosted_zone_id and found.home:
        what = f"the domain {block.domain} has no hosted zone"
        do = "add infrastructure.hosted_zone_id, the Route 53 zone that holds the domain"
        yield _problem(found.loaded, "infrastructure.domain", "INFRA-004", what, do)
    if found.home and not block.kubernetes_admins:
        what = "nobody may administer the clusters, whoever makes them included"
        do = "name the role that runs `pulumi up` in infrastructure.kubernetes_admins"
        yield _problem(found.loaded, "infrastructure", "INFRA-006", what, do)
    for region, spec in found.clusters.items():
        if not found.zones(region):
            what = f"the zones of {region} are not known"
            do = f"name two or three zone ids in infrastructure.zones.{region}"
            yield _problem(found.loaded, f"regions.{region}", "INFRA-008", what, do)
        if region != found.home and spec.prometheus == IN_CLUSTER_PROMETHEUS:
            what = f"the controllers would read {found.home}'s Prometheus for {region}"
            do = f"set prometheus to http://{prometheus_host(found.environment, region)}:{PROMETHEUS_PORT}"
            yield _problem(found.loaded, f"regions.{region}.prometheus", "INFRA-007", what, do)
        for pool in spec.gpu_pools:
            yield from _not_offered(found, region, pool)


def _not_offered(found: Declared, region: str, pool: str) -> Iterator[Problem]:
    """Yield the types of a pool that no zone of its own offers, by the table of `environments.aws_facts`."""
    spec = found.regions[region].gpu_pools[pool]
    for instance in (spec.instance, *spec.instances):
        offered = offered_zones(instance, region)
        if offered is not None and not set(offered) & set(spec.zones or found.zones(region)):
            what = f"{instance} of pool {pool} is not offered in {', '.join(spec.zones) or region}"
            there = ", ".join(regions_with(instance))
            do = f"choose another type, zone or region (regions that have it: {there}; read on {READ_ON})"
            yield _problem(found.loaded, f"regions.{region}.gpu_pools.{pool}", "INFRA-009", what, do)


def _problem(loaded: Loaded, path: str, code: str, what: str, do: str) -> Problem:
    return Problem(loaded.lines.where(path), code, what, do=do)
