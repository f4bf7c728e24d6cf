"""`sluice apply`: carry out a plan, made now or saved and approved. Imports the loop and outputs when called."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, scope_options, with_ports
from reconciler.core.wording import number_of

if TYPE_CHECKING:
    from policies.facts import Facts
    from reconciler.compose import Composed
    from reconciler.core.model.finding import Finding
    from reconciler.core.plan.plan import Plan
    from reconciler.engine.apply import Outcome
    from reconciler.operations.approve import Granted
    from reconciler.planning.planner import Planner

EXIT_ERROR = 1
EXIT_STOPPED = 4


@click.command()
@environment_options
@scope_options
@json_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--approve", metavar="DIGEST", help="Run only if the plan has this digest.")
@click.option("--infra", is_flag=True, help="Bring up the Pulumi projects first, then the releases.")
@click.option("--detach", is_flag=True, help="Begin, and leave the work to a controller.")
def apply(
    env: str | None,
    file: Path | None,
    endpoints: tuple[str, ...],
    regions: tuple[str, ...],
    **flags: object,
) -> int:
    """Carry out a plan: canary, judge, bake, promote or roll back.

    ENV is an environment or a plan that was saved with `sluice plan -o`. Interrupted, it can be run again: it goes on
    from what is live. Exits 3 when a policy denies the plan, 4 when a gate stopped it, 6 when a saved plan is stale.
    """
    from reconciler.core.plan.plan import Scope

    if flags["detach"]:
        raise SluiceError(
            "APPLY-002",
            what="--detach needs a controller",
            why="this build has none yet",
            do="run sluice apply without it",
        )
    saved = _saved(env)
    scope = saved[1].scope if saved else Scope(tuple(sorted(endpoints)), tuple(sorted(regions)))
    name = saved[1].environment if saved else env
    return with_ports(name, file, lambda composed: _apply(composed, scope, saved, flags))


def _saved(env: str | None) -> tuple[Path, Plan] | None:
    if env is None or not env.endswith(".json"):
        return None
    return Path(env), read_plan(Path(env))


def read_plan(path: Path) -> Plan:
    """Return the plan that a file holds.

    Raises:
        SluiceError: `PLAN-001`, `PLAN-002` or `PLAN-007`.
    """
    from reconciler.core.plan.plan import plan_from_json

    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SluiceError(
            "PLAN-001",
            where=str(path),
            what="this file is not a plan that can run",
            why=str(error),
            do="sluice plan ENV -o plan.json",
        ) from error
    return plan_from_json(data)


async def _apply(composed: Composed, scope: object, saved: tuple[Path, Plan] | None, flags: dict[str, object]) -> int:
    from reconciler.cli.approvals import granted
    from reconciler.core.plan.plan import Scope
    from reconciler.operations.approve import record

    if not isinstance(scope, Scope):
        raise TypeError("scope")
    planner = composed.planner()
    fresh, facts = await planner.planned(scope, now=time.time())
    if flags["infra"] or (saved and saved[1].infrastructure is not None):
        from reconciler.cli.infra import merged

        fresh = await merged(composed, fresh)
    if saved:
        refuse_stale(saved[1], fresh)
    _refuse_denied(fresh)
    _refuse_unapproved(fresh, flags["approve"])
    _refuse_gaps(fresh)
    if not fresh.pending and not fresh.building:
        await _note_guards(composed, fresh)
        _report(fresh, [], as_json=bool(flags["as_json"]))
        return 0
    _refuse_orphans(composed)
    approvals = await granted(composed, fresh, saved)
    _ask_at_apply(planner, fresh, facts, approvals)
    if not _agreed(fresh, bool(saved), flags):
        return 1
    await _note_guards(composed, fresh)
    if approvals:
        await record(composed.store, fresh, approvals, now=time.time)
    if fresh.building:
        from reconciler.cli.infra import build

        await build(composed, fresh, scope)
    outcomes = await _carry_out(composed, fresh, as_json=bool(flags["as_json"]))
    _report(fresh, outcomes, as_json=bool(flags["as_json"]))
    if not flags["as_json"]:
        _print_outputs(composed, fresh)
    return _code(outcomes)


def refuse_stale(saved: Plan, fresh: Plan) -> None:
    """Refuse a saved plan whose world has moved, naming what moved.

    Raises:
        SluiceError: `PLAN-003` (exit 6).
    """
    if saved.digest == fresh.digest:
        return
    from reconciler.core.plan.drift import facts_that_moved

    before = {facts["address"]: facts for facts in saved.basis.observed}
    now = {facts["address"]: facts for facts in fresh.basis.observed}
    moved = [d for a in sorted({*before, *now}) for d in facts_that_moved(a, before.get(a, {}), now.get(a, {}))]
    where, what = (
        f"plan of {saved.environment}",
        "policies, prices or rollouts in flight have changed since it was made",
    )
    if moved:
        where = moved[0].address
        what = "; ".join(f"{d.address} {d.path} was {d.recorded} and is now {d.live}" for d in moved)
    elif saved.infrastructure != fresh.infrastructure:
        what = "what its infrastructure would become has changed since it was made"
    elif saved.basis.spec_digest != fresh.basis.spec_digest:
        what = "the environment file has changed since it was made"
    elif saved.basis.gate_digests != fresh.basis.gate_digests:
        changed = {key for key, _ in saved.basis.gate_digests.items() ^ fresh.basis.gate_digests.items()}
        what = f"a file that decides has changed since it was made: that of {', '.join(sorted(changed))}"
    elif saved.basis.releases != fresh.basis.releases:
        what = "what a release refers to has other content now"
    raise SluiceError(
        "PLAN-003",
        where=where,
        what=f"the plan of {saved.created_at} is stale: {what}",
        why="what was approved is not what would be done",
        do=f"make a new one: sluice plan {saved.environment} -o plan.json",
    )


def _ask_at_apply(planner: Planner, plan: Plan, facts: Facts, approvals: Granted | None) -> None:
    """Ask the policies what they ask only of whoever applies: a denial refuses, everything else is told.

    Raises:
        SluiceError: `POLICY-001` (exit 3).
    """
    from environments.policies import parse_instant
    from policies.facts import Approval
    from reconciler.cli.approvals import authors_of

    if not plan.pending and not plan.building:
        return
    accepted = approvals.accepted if approvals else ()
    signed = [
        Approval(key=a.keyid, name=a.approval.approver, at=parse_instant(a.approval.approved_at)) for a in accepted
    ]
    author = next(iter(approvals.subject.authors if approvals else authors_of(plan)), None)
    found = planner.at_apply(plan, facts, now=time.time(), approvals=signed, author=author)
    for finding in found:
        click.echo(f"{finding.level:5} {finding.policy}  {finding.address}\n      {finding.message}", err=True)
    _refuse(tuple(f for f in found if f.level == "deny"))


async def _note_guards(composed: Composed, plan: Plan) -> None:
    from reconciler.operations.note_guards import note_guards

    await note_guards(composed.planner(), composed.store, plan, now=time.time())


def _refuse_denied(plan: Plan) -> None:
    if plan.pending or plan.building:
        _refuse(plan.denied)


def _refuse(denied: tuple[Finding, ...]) -> None:
    if denied:
        first = denied[0]
        raise SluiceError(
            "POLICY-001",
            where=first.address,
            what="; ".join(f"{f.policy}: {f.message}" for f in denied),
            why="a denying policy is not overridden by a flag",
            do=f"sluice policy explain {first.policy}",
        )


def _refuse_unapproved(plan: Plan, approved: object) -> None:
    if approved and approved != plan.digest:
        raise SluiceError(
            "PLAN-003",
            where=f"plan of {plan.environment}",
            what=f"its digest is {plan.digest}; {approved} was approved",
            why="only what was approved is run",
            do="review the plan again, and approve its digest",
        )


def _refuse_gaps(plan: Plan) -> None:
    if plan.gaps and not plan.changes:
        raise SluiceError(
            "APPLY-001",
            where=plan.environment,
            what="; ".join(plan.gaps),
            why="there is nothing left that this build could apply",
            do="use a region with platform: local, or a build with that adapter",
        )


def _refuse_orphans(composed: Composed) -> None:
    environment, orphans = composed.loaded.spec.environment, composed.orphans()
    if orphans:
        raise SluiceError(
            "APPLY-004",
            where=environment,
            what=f"orphans are serving here: {number_of(orphans, 'supervisor')} run whose state was deleted",
            why="they hold the ports and the memory that this plan needs, and no command reaches them",
            do=f"end them with: sluice down {environment}",
        )


def _agreed(plan: Plan, saved: bool, flags: dict[str, object]) -> bool:
    import sys

    from reconciler.output.console import console, in_ci
    from reconciler.output.plan_text import print_plan

    if not flags["as_json"]:
        print_plan(plan, console())
    if flags["yes"] or flags["approve"] or saved:
        return True
    if in_ci() or not sys.stdin.isatty():
        raise SluiceError(
            "APPLY-003",
            what="cannot prompt: not a terminal",
            why="this is a CI job" if in_ci() else "stdin is not a terminal",
            do="add --yes, or --approve DIGEST",
        )
    return click.confirm("Carry it out?")


async def _carry_out(composed: Composed, plan: Plan, *, as_json: bool) -> list[Outcome]:
    from reconciler.cli.drive import driving

    async with driving(composed, as_json=as_json) as drive:
        return await drive.finish(drive.applier.apply(plan))


def _report(plan: Plan, outcomes: list[Outcome], *, as_json: bool) -> None:
    from reconciler.output.console import console
    from reconciler.output.next_moves import next_moves
    from reconciler.output.plan_text import summary

    if as_json:
        print_json(
            {"environment": plan.environment, "digest": plan.digest, "outcomes": [outcome_json(o) for o in outcomes]}
        )
        return
    out = console()
    if not outcomes:
        out.print(summary(plan))
    for outcome in outcomes:
        out.print(outcome.summary, style="green" if outcome.good else "red", markup=False)
        if outcome.error:
            click.echo(outcome.error.problem.render(), err=True)
        for line in next_moves(outcome.rollout) if outcome.rollout else ():
            out.print(line, markup=False)


def _code(outcomes: list[Outcome]) -> int:
    """Return the exit code: an endpoint's error speaks before what a gate stopped."""
    from reconciler.cli.main import EXIT_CODES

    codes = [EXIT_CODES.get(o.error.code, EXIT_ERROR) if o.error else EXIT_STOPPED for o in outcomes if not o.good]
    errors = [code for code in codes if code != EXIT_STOPPED]
    return (errors or codes or [0])[0]


def _print_outputs(composed: Composed, plan: Plan) -> None:
    """Print where clients call what the plan was about."""
    from reconciler.core.outputs import outputs_of

    touched = {change.address for change in plan.pending}
    for each in outputs_of(composed.loaded.spec):
        if each.address in touched:
            click.echo(f"  {each.address}  {each.url or each.how}")


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as `apply --json` prints it; `phase` is `removed`, `none` or `error` without a rollout."""
    rollout = outcome.rollout
    plain = "removed" if outcome.removed else "error" if outcome.error else "none"
    return {
        "endpoint": outcome.endpoint,
        "rollout": rollout.id if rollout else None,
        "release": rollout.challenger.id if rollout else None,
        "phase": str(rollout.phase) if rollout else plain,
        "reason": rollout.reason if rollout else outcome.summary,
    }
