"""`sluice lost-keys`: the way out when every key of the approvers on record is lost. Imports when called."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.events import ApproversSetAside


@click.command("lost-keys")
@environment_options
@click.option("--reason", required=True, help="Why; it stands in the ledger and in every plan.")
@click.option("--withdraw", is_flag=True, help="Take it back: the approvers on record are asked again.")
@json_option
def lost_keys(env: str | None, file: Path | None, reason: str, withdraw: bool, as_json: bool) -> int:
    """Set aside the approvers of the last apply, because their keys are lost; it takes effect after a day.

    Who may approve from then on says the environment file, as it was reviewed and merged. Until then every plan warns
    (APPR-012), and an apply that the approvers on record signed, or --withdraw, ends it.
    """
    told = with_ports(env, file, lambda composed: _said(composed, reason, withdraw=withdraw))
    if as_json:
        print_json({"environment": told.address.environment, "after": told.after or None, "who": told.who})
    elif withdraw:
        click.echo(f"{told.address.environment}: the approvers on record are asked again")
    else:
        click.echo(f"{told.address.environment}: from {told.after} on the file's own approvers are enough")
        click.echo("  it stands in the ledger, and every plan says so until then")
    return 0


async def _said(composed: Composed, reason: str, *, withdraw: bool) -> ApproversSetAside:
    from reconciler.operations import lost_keys as operation

    act = operation.withdraw if withdraw else operation.set_aside
    return await act(composed.store, composed.loaded.spec.environment, reason, now=time.time())
