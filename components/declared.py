"""What a stack program needs before it creates anything: its environment, checked for what infrastructure needs.

Imports `environments`. Both stack programs call `declared`; it reads the environment file of the stack's name.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.tags import Owned, owned_by
from environments.errors import Problem, SpecError
from environments.find import find
from environments.infrastructure import InfrastructureSpec
from environments.load import Loaded, load
from environments.spec import EndpointSpec, KubernetesRegion, SageMakerRegion

AwsRegion = KubernetesRegion | SageMakerRegion
# Regions whose first three zones are not called a, b and c for every account. Source: AWS, list of Availability Zones.
_ZONES = {"ap-northeast-1": "acd", "ca-central-1": "abd", "us-west-1": "ab"}


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
    def teams(self) -> tuple[str, ...]:
        """Return the teams with an endpoint, sorted."""
        return tuple(sorted({endpoint.team for endpoint in self.loaded.spec.endpoints.values()}))

    def endpoints(self, region: str) -> Mapping[str, EndpointSpec]:
        """Return the endpoints that run in a region, in the order of the file."""
        spec = self.loaded.spec
        return {name: e for name, e in spec.endpoints.items() if region in spec.regions_of(name)}

    def zones(self, region: str) -> tuple[str, ...]:
        """Return the availability zones of a region's network."""
        named = self.infrastructure.zones.get(region)
        return tuple(named) if named else tuple(region + letter for letter in _ZONES.get(region, "abc"))


def declared(stack: str, *, environ: Mapping[str, str] | None = None, start: Path | None = None) -> Declared:
    """Return the environment that is called like the stack.

    Raises:
        SluiceError: `SPEC-001` there is none; any `SPEC-…` when the file is wrong; `INFRA-001` to `INFRA-004`
            when it cannot be built.
    """
    environ = os.environ if environ is None else environ
    loaded = load(find(stack, environ=environ, start=start), environ=environ)
    infrastructure = loaded.spec.infrastructure or InfrastructureSpec()
    regions = {name: r for name, r in loaded.spec.regions.items() if isinstance(r, KubernetesRegion | SageMakerRegion)}
    cidrs, problems = _cidrs(infrastructure, tuple(regions), loaded)
    found = Declared(loaded, infrastructure, owned_by(loaded.spec), regions, cidrs)
    problems += _missing_images(found)
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


def _missing_images(found: Declared) -> list[Problem]:
    images, problems = found.infrastructure.images, []
    runtimes = {e.runtime for region in found.clusters for e in found.endpoints(region).values()}
    for name in sorted(runtimes | ({"controller", "mlflow"} if found.home else set())):
        if getattr(images, name) is None:
            what = f"no image is named for {name}"
            do = f"add `images: {{{name}: HOST/NAME@sha256:DIGEST}}` to infrastructure; docs/adopt.md says how"
            problems.append(_problem(found.loaded, "infrastructure.images", "INFRA-003", what, do))
    if found.infrastructure.domain and not found.infrastructure.hosted_zone_id and found.home:
        what = f"the domain {found.infrastructure.domain} has no hosted zone"
        do = "add infrastructure.hosted_zone_id, the Route 53 zone that holds the domain"
        problems.append(_problem(found.loaded, "infrastructure.domain", "INFRA-004", what, do))
    return problems


def _problem(loaded: Loaded, path: str, code: str, what: str, do: str) -> Problem:
    return Problem(loaded.lines.where(path), code, what, do=do)
