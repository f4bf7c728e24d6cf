"""`sluice models`: copy a model to where the servers of an environment stream it from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.common import environment_options, json_option, print_json, scope_options, with_ports

if TYPE_CHECKING:
    from reconciler.compose import Composed
    from reconciler.operations.push_model import Copied

_GIB = 1 << 30
_MIB = 1 << 20


@click.group()
def models() -> None:
    """Copy models to where servers stream them from."""


@models.command()
@click.argument("ref")
@environment_options
@scope_options
@json_option
def push(
    ref: str, env: str | None, file: Path | None, endpoints: tuple[str, ...], regions: tuple[str, ...], as_json: bool
) -> int:
    """Copy the model REF below its digest into the model_bucket of every region of ENV.

    What is there already is verified and not sent again, so an interrupted push goes on where it ended. A plan sees
    the model when all of it is there.
    """
    found = with_ports(env, file, lambda c: _push(c, ref, endpoints, regions, quiet=as_json))
    if as_json:
        print_json({"ref": ref, "copies": [_json(copied) for copied in found]})
    else:
        for copied in found:
            click.echo(_text(copied))
    return 0


async def _push(
    composed: Composed, ref: str, endpoints: tuple[str, ...], regions: tuple[str, ...], *, quiet: bool
) -> tuple[Copied, ...]:
    from reconciler.operations.push_model import Push, buckets_of, kind_of, model_ref

    spec, named = composed.loaded.spec, model_ref(ref)
    buckets = buckets_of(spec, endpoints, regions)
    begun: set[tuple[str, str]] = set()

    def told(region: str, name: str, sent: int) -> None:
        if not quiet and (region, name) not in begun:
            begun.add((region, name))
            click.echo(f"{region}: sending {name}", err=True)

    work = Push(composed.registry, composed.files(), composed.copies)
    return await work.run(named, kind_of(spec, named, endpoints), buckets, told)


def _json(copied: Copied) -> dict[str, object]:
    return {"region": copied.region, "digest": copied.digest, **vars(copied.pushed)}


def _text(copied: Copied) -> str:
    found = copied.pushed
    kept = found.files - found.sent_files
    return (
        f"{copied.region}  {found.address}  {found.files} files, {_size(found.bytes)}:"
        f" {found.sent_files} sent ({_size(found.sent_bytes)}), {kept} were there already"
    )


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.1f} MiB"
