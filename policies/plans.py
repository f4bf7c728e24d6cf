"""Judge a plan, or an environment file by itself. Pure; the planner, `apply` and `sluice policy check` call it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from environments.spec import EnvironmentSpec
from policies.catalog import CATALOG, override_findings
from policies.policy import Need, OnPlan, PlanContext
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Action, Change


def check_plan(
    spec: EnvironmentSpec, changes: Sequence[Change], *, now: datetime, need: Need | None = None
) -> tuple[Finding, ...]:
    """Return what the policies say of a plan, sorted; endpoints that it leaves alone are not judged.

    Without `need`, rules about GPUs know of the plan what the file and the changes say.

    Raises:
        SluiceError: `POL-002` the file overrides a policy that does not exist.
    """
    touched = {c.address.endpoint for c in changes if c.action is not Action.NONE}
    names = tuple(name for name in sorted(spec.endpoints) if name in touched)
    return _findings(PlanContext(spec, names, tuple(changes), now, need))


def check_spec(spec: EnvironmentSpec, *, now: datetime | None = None) -> tuple[Finding, ...]:
    """Return what the policies say of an environment file, all endpoints and no changes, sorted.

    Raises:
        SluiceError: `POL-002` the file overrides a policy that does not exist.
    """
    return _findings(PlanContext(spec, tuple(sorted(spec.endpoints)), (), now))


def _findings(context: PlanContext) -> tuple[Finding, ...]:
    return tuple(sorted({*_judged(context), *override_findings(context.spec)}))


def _judged(context: PlanContext) -> Iterator[Finding]:
    for policy in CATALOG:
        level = policy.level(context.spec)
        if isinstance(policy.rule, OnPlan) and level != "off":
            for address, message in policy.rule.check(context):
                yield Finding(policy.id, level, address, message)
