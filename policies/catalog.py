"""Every policy of Sluice, sorted by id. Pure; commands list and explain it, `load` checks overrides against it."""

from __future__ import annotations

from environments.errors import SluiceError, nearest
from environments.spec import EnvironmentSpec
from policies import gpu_memory, releases, rollouts
from policies.infrastructure import (
    cluster,
    data,
    iam,
    keys,
    lifecycle,
    machines,
    network,
    observability,
    ownership,
    workloads,
)
from policies.policy import Policy
from reconciler.core.model.finding import Finding

OVERRIDE = "POL-001"
_AREAS = (
    rollouts,
    releases,
    gpu_memory,
    cluster,
    data,
    iam,
    keys,
    lifecycle,
    machines,
    network,
    observability,
    ownership,
    workloads,
)
CATALOG: tuple[Policy, ...] = tuple(sorted((p for area in _AREAS for p in area.POLICIES), key=lambda p: p.id))


def known_ids() -> frozenset[str]:
    """Return the ids that an environment file may override."""
    return frozenset(policy.id for policy in CATALOG)


def find_policy(policy_id: str) -> Policy:
    """Return a policy by its id.

    Raises:
        SluiceError: `POL-002` there is none, naming the nearest.
    """
    for policy in CATALOG:
        if policy.id == policy_id:
            return policy
    raise SluiceError(
        "POL-002",
        what=f'there is no policy "{policy_id}"',
        do=f"sluice policy list ({nearest(policy_id, known_ids())})",
    )


def override_findings(spec: EnvironmentSpec) -> tuple[Finding, ...]:
    """Return an info finding `POL-001` for each level that the environment file overrides.

    Raises:
        SluiceError: `POL-002` the file names a policy that does not exist.
    """
    found = []
    for policy_id, override in sorted(spec.policies.items()):
        default = find_policy(policy_id).default_level(spec)
        reason = f": {override.reason}" if override.reason else ", without a reason"
        change = (
            f"is {override.level} here" if override.level == default else f"is {override.level} instead of {default}"
        )
        found.append(Finding(OVERRIDE, "info", spec.environment, f"{policy_id} {change}{reason}"))
    return tuple(found)
