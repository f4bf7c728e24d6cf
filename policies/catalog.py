"""Every policy of Sluice, sorted by id. Pure; commands list and explain it, `load` checks overrides against it."""

from __future__ import annotations

from environments.errors import SluiceError, nearest
from environments.policies import Level, PolicyOverride
from environments.spec import EnvironmentSpec
from policies import adapters, changes, gpu_memory, lineage, offers, promotions, releases, rollouts
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
from policies.own import is_own, own_policies
from policies.policy import Policy
from reconciler.core.model.finding import Finding

OVERRIDE = "POL-001"
_AREAS = (
    rollouts,
    releases,
    promotions,
    changes,
    lineage,
    adapters,
    offers,
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


def policies_of(spec: EnvironmentSpec) -> tuple[Policy, ...]:
    """Return every policy that an environment is asked: the catalog, and what its file adds in CEL."""
    return (*CATALOG, *own_policies(spec))


def levels_in_force(spec: EnvironmentSpec) -> dict[str, Level]:
    """Return the level of every policy over plans that an environment is asked, by id; those that are off left out."""
    over_plans = [policy for policy in policies_of(spec) if policy.subject == "plan"]
    return {policy.id: policy.level(spec) for policy in over_plans if policy.level(spec) != "off"}


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
        SluiceError: `POL-002` the file names a policy that does not exist, `POL-008` a parameter that it does not read.
    """
    found = []
    for policy_id, override in sorted(spec.policies.items()):
        if is_own(policy_id):
            continue
        policy = find_policy(policy_id)
        _refuse_parameters(policy, override)
        default = policy.default_level(spec)
        reason = f": {override.reason}" if override.reason else ", without a reason"
        change = (
            f"is {override.level} here" if override.level == default else f"is {override.level} instead of {default}"
        )
        found.append(Finding(OVERRIDE, "info", spec.environment, f"{policy_id} {change}{reason}"))
    return tuple(found)


def _refuse_parameters(policy: Policy, override: PolicyOverride) -> None:
    """Refuse a parameter that the policy never reads: it would look as if it were in force."""
    given = override.model_dump(exclude_none=True).keys() - {"level", "reason", *policy.reads}
    if given:
        raise SluiceError(
            "POL-008",
            where=f"policies.{policy.id}",
            what=f"{policy.id} does not take {', '.join(sorted(given))}",
            why="a parameter that no rule reads would look as if it were in force",
            do=f"remove it; {policy.id} takes {', '.join(('level', 'reason', *policy.reads))}",
        )
