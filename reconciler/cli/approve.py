"""`sluice approve`: sign a saved plan. Imports the signer when called."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import json_option, load_environment, print_json

if TYPE_CHECKING:
    from reconciler.core.attest.approvals import Rule
    from reconciler.core.attest.statement import Approval
    from reconciler.core.plan.plan import Plan
    from reconciler.ports import Signer

KEY_VARIABLE = "SLUICE_APPROVAL_KEY"


@click.command()
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-f", "file", type=click.Path(path_type=Path, dir_okay=False), help="The environment file of the plan.")
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), help="Sign with the private key in this file.")
@click.option("--kms", metavar="ARN", help="Sign with this key of AWS KMS.")
@json_option
def approve(plan: Path, file: Path | None, key: Path | None, kms: str | None, as_json: bool) -> int:
    """Approve PLAN, a file that `sluice plan -o` wrote: add a signature to PLAN.approvals.

    The signature is for the plan's digest. `sluice apply PLAN` then asks for as many people as the environment file's
    `approvals` says, none of whom made the plan. Without --key and --kms, SLUICE_APPROVAL_KEY names a file or an ARN.
    """
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
    needed = rule.needed if rule else 0
    if as_json:
        print_json({**vars(approval), "file": str(path), "approvals": count, "needed": needed})
        return
    click.echo(f"{approval.approver} approved {made.digest}\n  {path}: {count} of {needed} needed")
    if rule is None:
        click.echo("  the environment file has no `approvals`, so `sluice apply` does not ask for any", err=True)
