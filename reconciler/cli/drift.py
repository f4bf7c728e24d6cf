"""`sluice drift`: live against what the ledger last recorded. Read only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, print_json, scope_options, with_ports
from reconciler.core.wording import number_of

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.plan.drift import Drift

EXIT_DRIFT = 5


@click.command()
@environment_options
@scope_options
@json_option
def drift(
    env: str | None, file: Path | None, endpoints: tuple[str, ...], regions: tuple[str, ...], as_json: bool
) -> int:
    """Show where live differs from what the ledger last recorded; exits 5 when it does.

    Endpoints with a rollout in flight are left out: they are on their way.
    """
    from reconciler.core.plan.drift import drift_to_json

    found = with_ports(env, file, lambda composed: _drift(composed, endpoints, regions))
    if as_json:
        print_json({"drift": [drift_to_json(d) for d in found]})
    else:
        for each in found:
            click.echo(f"{each.address}  {each.path}: recorded {each.recorded}, live {each.live}")
        click.echo(f"{number_of(len(found), 'difference')} between live and what the ledger last recorded")
    return EXIT_DRIFT if found else 0


async def _drift(composed: Composed, endpoints: tuple[str, ...], regions: tuple[str, ...]) -> tuple[Drift, ...]:
    from reconciler.core.plan.plan import Scope

    return await composed.planner().drift(Scope(endpoints, regions))
