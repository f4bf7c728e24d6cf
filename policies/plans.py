"""Judge a plan, or an environment file by itself. Pure; the planner, `apply` and `sluice policy check` call it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from environments.spec import EnvironmentSpec
from policies.asking import findings_of
from policies.catalog import levels_in_force, override_findings, policies_of
from policies.facts import Facts
from policies.glass import through_glass
from policies.policy import Need, OnPlan, PlanContext, Policy, Stage
from reconciler.core.model.finding import Finding
from reconciler.core.plan.change import Action, Change

LEFT_OUT = "POL-007"


def check_plan(
    spec: EnvironmentSpec,
    changes: Sequence[Change],
    *,
    now: datetime,
    facts: Facts | None = None,
    stage: Stage = "plan",
    need: Need | None = None,
) -> tuple[Finding, ...]:
    """Return what the policies say of a plan, sorted; endpoints that it leaves alone are not judged.

    Without `need`, rules about GPUs know of the plan what the file and the changes say.

    Raises:
        SluiceError: `POL-002` the file overrides a policy that does not exist, `POL-008` with a parameter it ignores.
    """
    touched = {c.address.endpoint for c in changes if c.action is not Action.NONE}
    names = tuple(name for name in sorted(spec.endpoints) if name in touched)
    return judge(PlanContext(spec, names, tuple(changes), now, facts, stage, need=need))


def check_spec(spec: EnvironmentSpec, *, now: datetime | None = None) -> tuple[Finding, ...]:
    """Return what the policies say of an environment file, all endpoints and no changes, sorted.

    Raises:
        SluiceError: `POL-002` the file overrides a policy that does not exist, `POL-008` with a parameter it ignores.
    """
    return judge(PlanContext(spec, tuple(sorted(spec.endpoints)), (), now))


def judge(context: PlanContext) -> tuple[Finding, ...]:
    """Return everything that the policies say, what the file overrides, and what could not be asked, sorted."""
    context = replace(context, levels=levels_in_force(context.spec))
    found = {*_judged(context), *override_findings(context.spec), *_left_out(context)}
    return tuple(sorted(through_glass(found, context.spec, context.now)))


def _judged(context: PlanContext) -> Iterator[Finding]:
    for policy in policies_of(context.spec):
        if isinstance(policy.rule, OnPlan) and not _lacks_facts(policy, context):
            yield from findings_of(policy, context.spec, partial(policy.rule.check, context))


def _left_out(context: PlanContext) -> Iterator[Finding]:
    """Say which policies were not asked, because they are about more than the file: they have not passed."""
    names = [p.id for p in policies_of(context.spec) if _lacks_facts(p, context) and p.level(context.spec) != "off"]
    if names:
        message = f"{len(names)} policies need what a file alone does not tell; `sluice plan` asks: {', '.join(names)}"
        yield Finding(LEFT_OUT, "info", context.spec.environment, message)


def _lacks_facts(policy: Policy, context: PlanContext) -> bool:
    return isinstance(policy.rule, OnPlan) and policy.rule.needs and context.facts is None
