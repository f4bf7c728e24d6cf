"""`sluice approve`: sign a saved plan. Imports the signer when called."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from environments.errors import SluiceError
from reconciler.cli.common import json_option, load_environment, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.attest.approvals import Fitting, Rule
    from reconciler.core.attest.statement import Approval
    from reconciler.core.plan.plan import Plan
    from reconciler.ports import Signer

KEY_VARIABLE = "SLUICE_APPROVAL_KEY"


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-f", "file", type=click.Path(path_type=Path, dir_okay=False), help="The environment file of the plan.")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Sign with the private key in this file.")
@click.option("--kms", metavar="ARN", help="Sign with this key of AWS KMS.")
@click.option(
    "--from",
    "source",
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="Sign nothing; take over what others signed for this plan, out of comments (- is stdin).",
)
@json_option
def approve(
    plan: Path, file: Path | None, key: Path | None, kms: str | None, source: TextIO | None, as_json: bool
) -> int:
    """Approve PLAN, a file that `sluice plan -o` wrote: add a signature to PLAN.approvals.

    The signature is for the plan's digest. `sluice apply PLAN` then asks for as many people as the environment file's
    `approvals` says, none of whom made the plan. Without --key and --kms, SLUICE_APPROVAL_KEY names a file or an ARN.

    Signed lines travel anywhere, such as in comments of a pull request. --from takes those that are for this plan, and
    says why it passes over the others.
    """
    if source is not None:
        return _take_over(plan, file, source, key or kms, as_json=as_json)
    from reconciler.cli.apply import read_plan
    from reconciler.cli.approvals import approvals_path, authors_of, read_approvals, write_bundle
    from reconciler.core.attest.approvals import Subject, rule_of
    from reconciler.operations.approve import approve as approved
    from reconciler.signing.check import verify

    made = read_plan(plan)
    signer = _signer(key, kms)
    rule = rule_of(load_environment(made.environment, file).spec.approvals)
    path = approvals_path(plan)
    subject = Subject(made.environment, made.digest, authors_of(made))
    work = approved(subject, rule, read_approvals(path), signer, now=time.time(), verify=verify)
    envelopes, approval = asyncio.run(work)
    write_bundle(path, envelopes)
    _show(made, approval, path, len(envelopes), rule, as_json=as_json)
    return 0


def _take_over(plan: Path, file: Path | None, source: TextIO, key: object, *, as_json: bool) -> int:
    """Write what others signed for this plan beside it, in place of what stands there."""
    from reconciler.cli.apply import read_plan
    from reconciler.cli.approvals import approvals_path, write_bundle

    if key:
        raise SluiceError(
            "CLI-002", what="--from does not go with a key", why="it signs nothing", do="leave one of the two out"
        )
    made, text = read_plan(plan), source.read()
    found = with_ports(made.environment, file, lambda composed: _fitting(composed, made, text))
    path = approvals_path(plan)
    write_bundle(path, found.envelopes)
    told = {"people": list(found.people), "passed_over": list(found.passed_over), "file": str(path)}
    if as_json:
        print_json({"environment": made.environment, "digest": made.digest, **told})
        return 0
    click.echo(f"{len(found.envelopes)} approvals of {made.digest}: {', '.join(found.people) or 'nobody'}\n  {path}")
    for why in found.passed_over:
        click.echo(f"  passed over: {why}", err=True)
    return 0


async def _fitting(composed: Composed, made: Plan, text: str) -> Fitting:
    from reconciler.cli.approvals import authors_of
    from reconciler.core.attest.approvals import Fitting, Subject, rule_of
    from reconciler.core.attest.dsse import envelopes_among
    from reconciler.operations.approve import take_over
    from reconciler.signing.check import verify

    subject = Subject(made.environment, made.digest, authors_of(made))
    declared = rule_of(composed.loaded.spec.approvals)
    found = await take_over(composed.store, subject, declared, envelopes_among(text), now=time.time(), verify=verify)
    return found or Fitting((), (), ())


def _signer(key: Path | None, kms: str | None) -> Signer:
    from reconciler.signing.select import signer_for

    named = [str(name) for name in (key, kms) if name] or [n for n in [os.environ.get(KEY_VARIABLE)] if n]
    if len(named) != 1:
        raise SluiceError(
            "SIGN-004",
            what="no key is named" if not named else "two keys are named",
            why="an approval is signed with one private key",
            do=f"--key FILE or --kms ARN, or export {KEY_VARIABLE}",
        )
    return signer_for(named[0], root=Path.cwd())


def _show(made: Plan, approval: Approval, path: Path, count: int, rule: Rule | None, *, as_json: bool) -> None:
    from reconciler.output.plan_text import summary

    needed = rule.needed if rule else 0
    if as_json:
        print_json({**vars(approval), "file": str(path), "approvals": count, "needed": needed})
        return
    click.echo(f"{approval.approver} approved {made.digest}\n  {summary(made).plain.splitlines()[0]}")
    click.echo(f"  {path}: {count} of {needed} needed")
    if rule is None:
        click.echo("  the environment file has no `approvals`, so `sluice apply` does not ask for any", err=True)
