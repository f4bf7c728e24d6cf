"""`sluice down`: end every process of a local environment. The ledger stays unless it is asked for."""

from __future__ import annotations

from pathlib import Path

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, load_environment


@click.command()
@environment_options
def down(env: str | None, file: Path | None) -> int:
    """End every process of an environment's local regions and delete their state; the ledger stays."""
    import asyncio

    from reconciler.compose import home_of
    from reconciler.platforms.local.down import down as end_all

    loaded = load_environment(env, file)
    if not any(region.platform == "local" for region in loaded.spec.regions.values()):
        raise SluiceError(
            "CLI-003",
            where=loaded.spec.environment,
            what="it has no local region",
            why="down ends processes of this machine and touches nothing else",
            do="remove endpoints from the environment file and apply",
        )
    done = asyncio.run(end_all(home_of(loaded.root), loaded.spec.environment))
    click.echo(f"{loaded.spec.environment}: {done.processes} process(es) ended, nothing is left running")
    return 0
