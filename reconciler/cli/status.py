"""`sluice status` and `sluice history`: what is live and what was done. Read only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, print_json, scope_options, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.core.canonical import Json

_WATCH_S = 2.0


@click.command()
@environment_options
@scope_options
@json_option
@click.option(
    "--watch",
    is_flag=True,
    help="Look every two seconds until interrupted: redrawn in place, or printed when something changed.",
)
def status(
    env: str | None, file: Path | None, endpoints: tuple[str, ...], regions: tuple[str, ...], as_json: bool, watch: bool
) -> int:
    """Show what serves, what is warm and what is on its way; without ENV, for every environment that can be read."""
    from environments.find import environments_folder, known_environments

    known = [] if env or file else known_environments(environments_folder())

    def look() -> list[Json]:
        return [_readable(name, endpoints, regions) for name in known] or [_of(env, file, endpoints, regions)]

    if not watch:
        _show(look(), as_json=as_json)
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        _watch(look, as_json=as_json)
    return 0


def _show(found: list[Json], *, as_json: bool) -> None:
    if as_json:
        print_json(found[0] if len(found) == 1 else {"environments": found})
        return
    from reconciler.output.console import console
    from reconciler.output.status_text import print_status

    for each in found:
        print_status(each, console())


def _watch(look: Callable[[], list[Json]], *, as_json: bool) -> None:
    """Redraw in place on a terminal; elsewhere print again what has changed, and only then."""
    from reconciler.output.console import console

    out = console()
    if not as_json and out.is_terminal:
        from rich.console import Group
        from rich.live import Live

        from reconciler.output.status_text import status_block

        with Live(console=out, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                live.update(Group(*map(status_block, look())), refresh=True)
                time.sleep(_WATCH_S)
    shown: list[Json] = []
    while True:
        found = look()
        if found != shown:
            _show(found, as_json=as_json)
            sys.stdout.flush()
        shown = found
        time.sleep(_WATCH_S)


@click.command()
@environment_options
@json_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many entries.")
@click.option("--endpoint", "endpoints", multiple=True, help="Only this endpoint; may be repeated.")
def history(env: str | None, file: Path | None, as_json: bool, limit: int, endpoints: tuple[str, ...]) -> int:
    """Show the ledger, newest first."""
    entries = with_ports(env, file, lambda composed: _entries(composed, limit, endpoints))
    if as_json:
        print_json(entries)
        return 0
    for entry in entries:
        click.echo(f"{entry['seq']:5}  {entry['at']}  {entry['kind']:20} {entry['address']}  {entry['summary']}")
    return 0


def _readable(name: str, endpoints: tuple[str, ...], regions: tuple[str, ...]) -> Json:
    """Return an environment's status, or why it cannot be read: one broken file must not hide the others."""
    from environments.errors import SluiceError

    try:
        return _of(name, None, endpoints, regions)
    except SluiceError as error:
        return {"environment": name, "endpoints": [], "unreadable": f"{error.code}: {error.problem.what}"}


def _of(name: str | None, file: Path | None, endpoints: tuple[str, ...], regions: tuple[str, ...]) -> Json:
    return with_ports(name, file, lambda composed: _status(composed, endpoints, regions))


async def _status(composed: Composed, endpoints: tuple[str, ...], regions: tuple[str, ...]) -> Json:
    from reconciler.core.outputs import outputs_of
    from reconciler.core.plan.plan import Scope
    from reconciler.core.status import status_json
    from reconciler.planning.planner import active_rollouts, check_scope

    scope = Scope(endpoints, regions)
    check_scope(composed.loaded.spec, scope)
    live = await composed.planner().live(scope)
    environment = composed.loaded.spec.environment
    active = await active_rollouts(composed.store, environment)
    owners = {}
    for name in active:
        lease = await composed.store.lease(f"{environment}/{name}")
        owners[name] = lease.owner if lease and lease.left_s > 0 else None
    declared = composed.planner().declared(scope)
    gaps = sorted(composed.gaps.values())
    urls = {each.address: each.url for each in outputs_of(composed.loaded.spec) if each.url}
    kept = await composed.planner().kept_warm(live, active)
    found = status_json(environment, declared, live, active=active, owners=owners, gaps=gaps, urls=urls, kept=kept)
    return found | {"orphans": composed.orphans()}


async def _entries(composed: Composed, limit: int, endpoints: tuple[str, ...]) -> list[Json]:
    found: list[Json] = []
    async for entry in composed.store.entries(composed.loaded.spec.environment, newest_first=True):
        if not endpoints or entry.address.rpartition("/")[2] in endpoints:
            found.append(entry_json(entry))
        if len(found) >= limit:
            break
    return found


def entry_json(entry: object) -> Json:
    """Return a ledger entry as `history --json` and `ledger export` print it."""
    fields: Callable[[object], Json] = vars
    return {key: value for key, value in fields(entry).items() if key != "environment"}
