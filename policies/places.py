"""Where in the environment file a finding is about, so that a review shows it beside the line. Pure."""

from __future__ import annotations

from environments.spec import EnvironmentSpec
from policies.catalog import CATALOG, OVERRIDE
from reconciler.core.model.finding import Finding


def path_of(finding: Finding, spec: EnvironmentSpec) -> str:
    """Return the path of a finding for `Lines.where`, which goes up to the nearest block when the key is not there."""
    if finding.policy == OVERRIDE:
        return f"policies.{finding.message.partition(' ')[0]}"
    place = next((policy.place for policy in CATALOG if policy.id == finding.policy), "")
    return ".".join(part for part in (_block(finding.address, spec), place) if part)


def _block(address: str, spec: EnvironmentSpec) -> str:
    match address.split("/"):
        case [_, region, name] if name not in spec.endpoints and region in spec.regions:
            return f"regions.{region}.gpu_pools.{name}"
        case [_, _, endpoint]:
            return f"endpoints.{endpoint}"
        case [_, region]:
            return f"regions.{region}"
        case _:
            return "environment"
