"""`sluice plan`: show, save or check a plan. Imports planning and outputs when called."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.approvals import AUTHOR_VARIABLE
from reconciler.cli.common import (
    environment_options,
    json_option,
    load_environment,
    print_json,
    scope_options,
    with_ports,
)
from reconciler.core.wording import number_of

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.plan.plan import Plan, Scope

EXIT_PENDING, EXIT_DENIED, EXIT_DRIFT = 2, 3, 5


@click.command()
@environment_options
@scope_options
@json_option
@click.option("--markdown", is_flag=True, help="Print Markdown for a pull request.")
@click.option(
    "-o", "out", type=click.Path(path_type=Path, dir_okay=False), help="Save the plan, for `sluice apply FILE`."
)
@click.option("--refresh-only", is_flag=True, help="Show drift alone.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when changes are pending, 5 on drift alone.")
@click.option("--against", metavar="REF", help="Compare with the file at a git revision; read nothing that is live.")
@click.option("--recorded", is_flag=True, help="Compare with what the ledger last recorded; read nothing that is live.")
@click.option("--infra", is_flag=True, help="Merge `pulumi preview` of stacks/ into the plan and its digest.")
def plan(
    env: str | None,
    file: Path | None,
    endpoints: tuple[str, ...],
    regions: tuple[str, ...],
    **flags: object,
) -> int:
    """Show what would change, why, and how it would be done.

    Reads only. The same world gives the same plan and the same digest. Exits 3 when a policy denies it. With --against
    or --recorded it looks at nothing that is live and needs no access to it; such a plan is for reviewers.
    """
    from reconciler.core.plan.plan import Scope

    scope = Scope(tuple(sorted(endpoints)), tuple(sorted(regions)))
    if flags["against"] or flags["recorded"]:
        made, orphans = _unread(env, file, scope, flags), 0
    else:
        made, orphans = with_ports(env, file, lambda composed: _plan(composed, scope, infra=bool(flags["infra"])))
    made = replace(made, author=os.environ.get(AUTHOR_VARIABLE) or None)
    _show(made, flags, env, file)
    if orphans:
        from reconciler.output.status_text import orphan_words

        click.echo(orphan_words(made.environment, orphans), err=True)
    out = flags["out"]
    if isinstance(out, Path):
        save(made, out)
    return _exit_code(made, detailed=bool(flags["detailed_exitcode"]), drift_only=bool(flags["refresh_only"]))


async def _plan(composed: Composed, scope: Scope, *, infra: bool) -> tuple[Plan, int]:
    made = await composed.planner().plan(scope, now=time.time())
    if infra:
        from reconciler.cli.infra import merged

        made = await merged(composed, made)
    return made, composed.orphans()


def _unread(env: str | None, file: Path | None, scope: Scope, flags: dict[str, object]) -> Plan:
    """Return a plan for reviewers, made without a look at what is live."""
    _refuse_together(flags)
    against = flags["against"]
    if isinstance(against, str):
        from reconciler.cli.against import plan_against_revision

        return plan_against_revision(load_environment(env, file), against, scope)
    from reconciler.planning.unread import plan_recorded

    return with_ports(env, file, lambda composed: plan_recorded(composed.planner(), scope, now=time.time()))


def _refuse_together(flags: dict[str, object]) -> None:
    pairs = [("against", "recorded"), ("against", "refresh_only"), ("recorded", "refresh_only")]
    pairs += [("against", "infra"), ("recorded", "infra")]
    both = next((pair for pair in pairs if all(flags[name] for name in pair)), None)
    if both:
        from environments.errors import SluiceError

        first, second = (f"--{name.replace('_', '-')}" for name in both)
        raise SluiceError(
            "CLI-002",
            what=f"{first} does not go with {second}",
            why="a plan compares with one thing",
            do="leave one out",
        )


def save(made: Plan, path: Path) -> None:
    """Write a plan to a file, whole or not at all."""
    from reconciler.core.plan.plan import plan_to_json

    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(plan_to_json(made), sort_keys=True, indent=1, ensure_ascii=False) + "\n")
    partial.replace(path)


def _show(made: Plan, flags: dict[str, object], env: str | None, file: Path | None) -> None:
    from reconciler.core.plan.drift import drift_to_json
    from reconciler.core.plan.plan import plan_to_json
    from reconciler.output.console import console
    from reconciler.output.plan_text import print_plan

    if flags["as_json"]:
        print_json(plan_to_json(made))
    elif flags["markdown"]:
        click.echo(_markdown(made, env, file))
    elif flags["refresh_only"]:
        for found in map(drift_to_json, made.drift):
            click.echo(f"{found['address']} {found['path']}: {found['recorded']} → {found['live']}")
        click.echo(f"{number_of(len(made.drift), 'difference')} between live and what the ledger last recorded")
    else:
        print_plan(made, console())


def _markdown(made: Plan, env: str | None, file: Path | None) -> str:
    from policies.places import path_of
    from reconciler.output.plan_markdown import Reviewed, plan_markdown

    loaded = load_environment(env, file)
    return plan_markdown(Reviewed(made, loaded.spec, lambda found: loaded.lines.where(path_of(found, loaded.spec))))


def _exit_code(made: Plan, *, detailed: bool, drift_only: bool) -> int:
    if made.denied:
        return EXIT_DENIED
    if not detailed:
        return 0
    if (made.pending or made.building) and not drift_only:
        return EXIT_PENDING
    return EXIT_DRIFT if made.drift else 0
