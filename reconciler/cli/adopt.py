"""`sluice adopt`: take over fields of an endpoint's objects that somebody else manages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from environments.errors import SluiceError
from reconciler.cli.common import environment_options, json_option, print_json, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.operations.adopt import Found


@click.command()
@environment_options
@click.option("--endpoint", "endpoint", required=True, help="Whose objects.")
@click.option("--region", "regions", multiple=True, help="Only this region; may be repeated.")
@click.option("--reason", required=True, help="Why; it stands in the ledger.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def adopt(
    env: str | None,
    file: Path | None,
    endpoint: str,
    regions: tuple[str, ...],
    reason: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Take over what others own of an endpoint's routes and workloads, which no other command ever does.

    It shows each field and its owner, and asks. Values stay as they are: the next `plan` says what differs from the
    file. An autoscaler's number of servers stays its own.
    """
    return with_ports(env, file, lambda c: _adopt(c, endpoint, regions, reason, yes=yes, as_json=as_json))


async def _adopt(
    composed: Composed, endpoint: str, regions: tuple[str, ...], reason: str, *, yes: bool, as_json: bool
) -> int:
    from reconciler.compose import steady_clock
    from reconciler.operations.adopt import Adopt

    work = Adopt(composed.loaded.spec, composed.store, composed.regions, steady_clock())
    found = await work.look(endpoint, regions)
    if not as_json:
        click.echo("\n".join(_lines(found)), err=True)
    taken: Found = {}
    if any(found.values()):
        _agree(endpoint, yes=yes)
        taken = await work.take(endpoint, found, reason)
    if as_json:
        print_json({"endpoint": endpoint, "adopted": _json(taken)})
    else:
        click.echo(f"{endpoint}: {sum(map(len, taken.values()))} fields adopted")
    return 0


def _agree(endpoint: str, *, yes: bool) -> None:
    """Ask before anything is taken from anybody.

    Raises:
        SluiceError: `PLAT-031` nobody said yes.
    """
    import sys

    from reconciler.output.console import in_ci

    if yes:
        return
    if in_ci() or not sys.stdin.isatty():
        do = "add --yes"
    elif click.confirm(f"{endpoint}: take these fields over?", err=True):
        return
    else:
        do = "talk to their owners, or say yes"
    raise SluiceError(
        "PLAT-031", where=endpoint, what="nothing was taken over", why="it would be taken from others", do=do
    )


def _lines(found: Found) -> list[str]:
    lines = []
    for address, fields in sorted(found.items(), key=lambda each: str(each[0])):
        lines += [f"{address}  nothing belongs to anybody else"] if not fields else []
        for each in fields:
            since = f", since {each.at}" if each.at else ""
            lines.append(f"{address}  {each.object}  {each.field}  is {each.manager}'s ({each.operation}{since})")
    return lines


def _json(found: Found) -> list[dict[str, str]]:
    return [{"address": str(address), **vars(field)} for address, fields in found.items() for field in fields]
