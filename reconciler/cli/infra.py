"""Infrastructure in `plan` and `apply`: its previews in the plan, and bringing it up before releases move."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.plan.plan import Plan, Scope
    from reconciler.infrastructure.automation import PulumiProjects


async def merged(composed: Composed, plan: Plan) -> Plan:
    """Return a plan with the previews of its environment's Pulumi projects."""
    from reconciler.core.plan.infrastructure import priced
    from reconciler.core.plan.plan import with_infrastructure
    from reconciler.operations.infrastructure import previews

    projects = _projects(composed)
    click.echo(f"previewing {', '.join(projects.projects())} (a minute or two)", err=True)
    prices = composed.planner().prices
    return with_infrastructure(plan, [priced(preview, prices) for preview in await previews(projects)])


async def build(composed: Composed, plan: Plan, scope: Scope) -> None:
    """Bring up what the plan says, then refuse to go on unless the releases' part of it still holds.

    Raises:
        SluiceError: `INFRA-015` something else was done; `PLAN-003` (exit 6) releases would move otherwise now.
    """
    from reconciler.cli.apply import refuse_stale
    from reconciler.operations.infrastructure import bring_up

    def say(line: str) -> None:
        click.echo(line, err=True)

    await bring_up(_projects(composed), plan.building, environment=plan.environment, say=say)
    now = await composed.planner().plan(scope, now=time.time())
    infrastructure_says = {finding for preview in plan.infrastructure or () for finding in preview.findings}
    findings = tuple(finding for finding in plan.findings if finding not in infrastructure_says)
    refuse_stale(replace(plan, infrastructure=None, findings=findings), now)


def _projects(composed: Composed) -> PulumiProjects:
    from reconciler.infrastructure.automation import PulumiProjects

    return PulumiProjects(composed.loaded.root, composed.loaded.spec.environment)
