"""Where in the environment file a finding is about, so that a review shows it beside the line. Pure."""

from __future__ import annotations

from environments.spec import EnvironmentSpec
from policies.catalog import CATALOG
from reconciler.core.model.finding import Finding


def path_of(finding: Finding, spec: EnvironmentSpec) -> str:
    """Return the path of a finding for `Lines.where`, which goes up to the nearest block when the key is not there.

    What is said of a policy itself is about its entry in the file, where it has one.
    """
    match finding.policy:
        case "POL-001" | "POL-003" | "POL-004" if (named := finding.message.partition(" ")[0]) in spec.policies:
            return f"policies.{named}"
        case "POL-005" | "POL-006":
            return "break_glass"
        case _:
            pass
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
