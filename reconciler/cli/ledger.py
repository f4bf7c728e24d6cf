"""`sluice ledger`: check the hash chain, export the entries. Read only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.ports import Verification


@click.group()
def ledger() -> None:
    """Verify or export the ledger."""


@ledger.command()
@environment_options
@json_option
def verify(env: str | None, file: Path | None, as_json: bool) -> int:
    """Check that no entry was changed, removed or reordered; exits 1 and names the first that was."""
    environment, found = with_ports(env, file, _verify)
    if as_json:
        print_json({"environment": environment, **vars(found)})
    elif found.ok:
        click.echo(f"{environment}: {found.checked} entries, the chain is whole")
    if found.ok:
        return 0
    if not as_json:
        raise SluiceError(
            "LEDGER-001",
            where=f"{environment} entry {found.seq}",
            what=found.problem or "the chain is broken",
            why="each entry's hash covers the one before it, so the ledger was edited outside Sluice or damaged",
            do="restore the database from a backup, and find out who could write to it",
        )
    return 1


@ledger.command()
@environment_options
@json_option
def export(env: str | None, file: Path | None, as_json: bool) -> int:
    """Print every entry, oldest first: a JSON line each, or one object with `--json`."""
    with_ports(env, file, lambda composed: _export(composed, as_json=as_json))
    return 0


async def _verify(composed: Composed) -> tuple[str, Verification]:
    environment = composed.loaded.spec.environment
    return environment, await composed.store.verify(environment)


async def _export(composed: Composed, *, as_json: bool) -> None:
    from reconciler.cli.status import entry_json

    environment = composed.loaded.spec.environment
    if as_json:
        found = [entry_json(entry) async for entry in composed.store.entries(environment)]
        print_json({"environment": environment, "entries": found})
        return
    async for entry in composed.store.entries(environment):
        click.echo(json.dumps(entry_json(entry), sort_keys=True, ensure_ascii=False))
