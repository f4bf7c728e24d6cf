"""`sluice down`: end every process of a local environment. The ledger stays unless it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, load_environment, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed


@click.command()
@environment_options
def down(env: str | None, file: Path | None) -> int:
    """End every process of an environment's local regions and delete their state; the ledger stays.

    While a command or a controller is at work on one of its endpoints, that has to be ended first.
    """
    import asyncio

    from reconciler.compose import home_of, kinds_of

    loaded = load_environment(env, file)
    ending = [kind.down for kind in kinds_of(loaded) if kind.down]
    if not ending:
        raise SluiceError(
            "CLI-003",
            where=loaded.spec.environment,
            what="it has no local region",
            why="down ends processes of this machine and touches nothing else",
            do="remove endpoints from the environment file and apply",
        )
    _refuse_at_work(env, file)
    ended = sum(asyncio.run(_ended(end_all(home_of(loaded.root), loaded.spec.environment))) for end_all in ending)
    click.echo(f"{loaded.spec.environment}: {ended} process(es) ended, nothing is left running")
    return 0


async def _ended(ending: Awaitable[int]) -> int:
    return await ending


def _refuse_at_work(env: str | None, file: Path | None) -> None:
    """Refuse while somebody holds a lease: its holder would start again what is ended here.

    Raises:
        SluiceError: `LEASE-001`. A store that is out of reach is said and passed over: down has to work without it.
    """
    try:
        with_ports(env, file, _check_leases)
    except SluiceError as error:
        if not error.code.startswith("STORE-"):
            raise
        click.echo(f"{error.code}: {error.problem.what}; whether anyone is at work cannot be known", err=True)


async def _check_leases(composed: Composed) -> None:
    from reconciler.engine.owner import is_dead

    environment = composed.loaded.spec.environment
    for endpoint in composed.loaded.spec.endpoints:
        lease = await composed.store.lease(f"{environment}/{endpoint}")
        if lease and lease.left_s > 0 and not is_dead(lease.owner):
            raise SluiceError(
                "LEASE-001",
                where=f"{environment}/*/{endpoint}",
                what=f"{lease.owner} is at work on it",
                why="it would start again what is ended here",
                do=f"end it (Ctrl-C, or sluice abort {environment} --endpoint {endpoint}), then run this again",
            )
